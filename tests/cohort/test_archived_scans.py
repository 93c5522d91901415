import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_path, read_scan
from espalier.cohort.table import read_cohort

from .conftest import DicomSeries, body_hu


def pack(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, packed in files.items():
                archive.writestr(name, packed)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, packed in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(packed)
            archive.addfile(info, io.BytesIO(packed))
    return path


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


def test_archives_of_one_name_in_several_folders_are_several_patients(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    for n, place in enumerate(("x", "y", "z")):
        nifti = write_nifti(tmp_path / "loose" / f"{n}.nii.gz", hu=body_hu() + np.int16(n))
        pack(tmp_path / "scans" / place / "export.zip", {"ct.nii.gz": nifti.read_bytes()})
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    rows = read_cohort(tmp_path).to_dicts()
    assert sorted((row["patient"], row["source"]) for row in rows) == [(p, f"scans/{p}/export.zip") for p in ("x", "y", "z")]
    assert len({row["scan"] for row in rows}) == 3


def test_an_archive_within_an_archive_is_told_and_not_lost(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "loose")
    inner = pack(tmp_path / "inner.zip", {p.name: p.read_bytes() for p in folder.iterdir()})
    pack(tmp_path / "scans" / "outer.zip", {"inner.zip": inner.read_bytes()})
    summary = ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    aside = pl.read_csv(tmp_path / "set_aside.csv", infer_schema=False)
    assert (summary.done, aside["reason"].to_list()) == (0, ["archive_nested"])
    assert aside["source"].to_list() == ["scans/outer.zip/inner.zip"]
