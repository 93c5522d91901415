import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.cohort import archives
from espalier.cohort.archives import is_archive_name, members, unpacked
from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_path, read_scan
from espalier.cohort.table import read_cohort
from espalier.errors import ScanError

from .conftest import DicomSeries, body_hu

TARS = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, packed in files.items():
                archive.writestr(name, packed)
        return path
    mode = next(mode for suffix, mode in sorted(TARS.items(), key=lambda pair: -len(pair[0])) if path.name.endswith(suffix))
    with tarfile.open(path, mode) as archive:
        for name, packed in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(packed)
            archive.addfile(info, io.BytesIO(packed))
    return path


def tar_with(path: Path, change: Callable[[tarfile.TarInfo], object]) -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a")
        change(info)
        archive.addfile(info, io.BytesIO(b""))
    return path


def code_of(path: Path) -> str:
    with pytest.raises(ScanError) as caught, unpacked(path):
        pass
    return caught.value.code


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_members_are_unpacked_whole_and_removed_again(tmp_path: Path, suffix: str) -> None:
    files = {"b/c.bin": os.urandom(3_000_000), "a": b"1", "b/d/e": b""}
    path = pack(tmp_path / f"x{suffix}", files)
    assert is_archive_name(path.name)
    assert [(m.name, m.size) for m in members(path)] == [("a", 1), ("b/c.bin", 3_000_000), ("b/d/e", 0)]
    with unpacked(path, below=tmp_path / "here") as place:
        assert place.parent == tmp_path / "here"
        assert place.name.startswith(".partial-")
        assert {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()} == files
        assert all(p.stat().st_mode & 0o077 == 0 for p in place.rglob("*"))
    assert list((tmp_path / "here").iterdir()) == []
    with unpacked(path, ["b/c.bin"]) as place:
        assert [p.name for p in place.rglob("*") if p.is_file()] == ["c.bin"]
    with pytest.raises(ScanError) as caught, unpacked(path, ["gone"]):
        pass
    assert caught.value.code == "missing_file"


@pytest.mark.parametrize("name", ["../a", "/a", "b/../../a", "C:/a", "b\\..\\a", "a/" + "n" * 300])
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_names_that_lead_outside_make_the_archive_unsafe(tmp_path: Path, name: str, suffix: str) -> None:
    path = pack(tmp_path / "in" / f"x{suffix}", {"good": b"1", name: b"2"})
    assert code_of(path) == "archive_unsafe"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", f"x{suffix}"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_make_a_tar_unsafe(tmp_path: Path, kind: bytes) -> None:
    assert code_of(
        tar_with(tmp_path / "x.tar", lambda info: (setattr(info, "type", kind), setattr(info, "linkname", "b")))
    ) == ("archive_unsafe")


def test_a_link_makes_a_zip_unsafe(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("a")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert code_of(tmp_path / "x.zip") == "archive_unsafe"


@pytest.mark.parametrize("names", [("a", "A"), ("b/c", "b/C")])
def test_names_that_differ_in_case_alone_are_unsafe(tmp_path: Path, names: tuple[str, str]) -> None:
    assert code_of(pack(tmp_path / "x.tar", dict.fromkeys(names, b"1"))) == "archive_unsafe"


def test_an_encrypted_member_is_told(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a": b"1"})
    packed = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = packed.index(signature) + place
        packed[at : at + 2] = struct.pack("<H", 1)
    path.write_bytes(packed)
    assert code_of(path) == "archive_encrypted"


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.xz"])
def test_a_cut_archive_is_corrupt(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"x{suffix}", {"a": os.urandom(50_000), "b": os.urandom(50_000)})
    path.write_bytes(path.read_bytes()[:-60_000])
    assert code_of(path) == "archive_corrupt"


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_flipped_bit_is_found_by_the_checksum(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"x{suffix}", {"a": bytes(range(256)) * 300})
    packed = bytearray(path.read_bytes())
    packed[len(packed) // 3] ^= 4
    path.write_bytes(packed)
    assert code_of(path) == "archive_corrupt"


def test_more_than_the_limits_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "x.zip", {"a": bytes(3000), "b": bytes(3000)})
    monkeypatch.setattr(archives, "MOST_BYTES", 5000)
    assert code_of(path) == "archive_too_large"
    monkeypatch.setattr(archives, "MOST_BYTES", 10_000)
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1)
    assert code_of(path) == "archive_too_large"
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    monkeypatch.setattr(archives, "KEPT_FREE", 2**62)
    assert code_of(path) == "archive_too_large"


def test_a_member_larger_than_it_says_is_cut_off(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.zip", {"a": bytes(400_000)})
    packed = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = packed.index(signature) + place
        packed[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(packed)
    assert code_of(path) in {"archive_too_large", "archive_corrupt"}


def test_scans_in_archives_are_read_as_those_beside_them(
    write_series: DicomSeries, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_series(tmp_path / "loose", patient="P1")
    pack(tmp_path / "scans" / "one.zip", {f"export/{p.name}": p.read_bytes() for p in folder.iterdir()})
    again = write_series(tmp_path / "loose2", patient="P2", change=lambda d, n: setattr(d, "PatientAge", "020Y"))
    pack(tmp_path / "scans" / "two.tar.gz", {p.name: p.read_bytes() for p in again.iterdir()} | {"notes.txt": b"x"})
    nifti = write_nifti(tmp_path / "a.nii.gz", hu=body_hu() + np.int16(3))
    pack(tmp_path / "scans" / "three.tar", {"P3/S/a.nii.gz": nifti.read_bytes()})
    pack(tmp_path / "scans" / "bad.zip", {"../evil": b"x"})
    ingest(CohortOptions(sources=("scans",), layout="mixed"), folder=tmp_path)
    rows = {row["patient"]: row for row in read_cohort(tmp_path).to_dicts()}
    assert {patient: row["source"] for patient, row in rows.items()} == {
        "P1": "scans/one.zip", "P2": "scans/two.tar.gz", "P3": "scans/three.tar",
    }  # fmt: skip
    assert rows["P1"]["files"][0] == "export/slice_000.dcm"
    assert rows["P3"]["files"] == ["P3/S/a.nii.gz"]
    assert rows["P3"]["stem"] == "a"
    assert np.array_equal(read_scan(rows["P1"], folder=tmp_path).voxels, body_hu())
    assert np.array_equal(read_scan(rows["P3"], folder=tmp_path).voxels, body_hu() + 3)
    aside = pl.read_csv(tmp_path / "set_aside.csv", infer_schema=False)
    assert aside.select("source", "reason").rows() == [("scans/bad.zip", "archive_unsafe")]
    assert not list(tmp_path.rglob(".partial*"))
    assert np.array_equal(read_path(tmp_path / "scans" / "one.zip").voxels, body_hu())
