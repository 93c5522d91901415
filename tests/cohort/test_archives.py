import contextlib
import gzip
import io
import os
import resource
import stat
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort import archives
from espalier.cohort.archives import Member, is_archive_name, members, unpacked
from espalier.errors import ResourceError, ScanError
from espalier.outputs import sweep

from .volume_files import changed

FILES = {"p1/a.dcm": b"one" * 400, "p1/deep/b.dcm": b"two" * 400, "empty": b"", "Ünï/ж.nii.gz": bytes(range(256))}
NAMES = ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"]


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("p1")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], *, change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    packing = next((packing for packing in ("gz", "bz2", "xz") if path.name.endswith(packing)), "")
    mode = {"a.tgz": "w:gz"}.get(path.name, f"w:{packing}")
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change is not None:
                change(info)
            archive.addfile(info, io.BytesIO(content))
    return path


def write(path: Path, files: dict[str, bytes] = FILES) -> Path:
    return zipped(path, files) if path.suffix == ".zip" else tarred(path, files)


def held(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def code_of(path: Path) -> str:
    """Return why an archive is refused; nothing of it may stay on the disk, or lie outside its folder."""
    below = path.parent / "below"
    with pytest.raises(ScanError) as caught, unpacked(path, below=below):
        pytest.fail("it was unpacked")
    assert list(below.iterdir()) == []
    assert caught.value.do
    return caught.value.code


@pytest.mark.parametrize("name", NAMES)
def test_members_are_listed_and_unpacked_byte_for_byte_and_removed_at_the_end(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert members(path) == tuple(Member(one, len(FILES[one])) for one in sorted(FILES))
    with unpacked(path) as place:
        assert held(place) == FILES
    assert not place.exists()


@pytest.mark.parametrize("name", NAMES)
def test_only_the_wanted_members_are_unpacked_and_nobody_else_may_read_them(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with unpacked(path, ["p1/deep/b.dcm"], below=tmp_path / "below") as place:
        assert place.parent == tmp_path / "below"
        assert held(place) == {"p1/deep/b.dcm": FILES["p1/deep/b.dcm"]}
        assert stat.S_IMODE((place / "p1/deep/b.dcm").stat().st_mode) == 0o600
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_member_that_is_gone_is_a_missing_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    with pytest.raises(ScanError) as caught, unpacked(path, ["p1/a.dcm", "gone"]):
        pytest.fail("it was unpacked")
    assert caught.value.code == "missing_file"


def test_the_folder_is_removed_when_the_work_in_it_breaks_and_swept_when_a_run_is_killed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    with pytest.raises(KeyError), unpacked(path, below=tmp_path / "below"):
        raise KeyError
    assert list((tmp_path / "below").iterdir()) == []
    held_open = unpacked(path, below=tmp_path / "below")
    place = held_open.__enter__()
    sweep(tmp_path)
    assert not place.exists()
    held_open.__exit__(None, None, None)


def test_archives_are_known_by_their_names() -> None:
    assert all(is_archive_name(name.upper()) for name in NAMES)
    assert not any(is_archive_name(name) for name in ("a.nii.gz", "a.gz", "a.dcm", "zip", "a.npz"))


def test_what_is_packed_is_told_by_its_bytes_where_a_tar_is_named_otherwise(tmp_path: Path) -> None:
    tarred(tmp_path / "a.tar.gz", FILES).rename(tmp_path / "b.tar")
    assert len(members(tmp_path / "b.tar")) == len(FILES)


@pytest.mark.parametrize(
    "name", ["/abs", "../up", "p1/../../up", "C:/x", "c:x", "..", "a/..", "x" * 3000, "/".join("abc" * 20)]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_names_that_lead_outside_or_nowhere_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / "inner" / kind
    path.parent.mkdir()
    write(path, {"sound": b"1", name: b"2"})
    assert code_of(path) == "archive_unsafe"
    with pytest.raises(ScanError, match="plain files"):
        members(path)
    assert not (tmp_path / "up").exists()


def test_backslashes_are_slashes_in_a_zip_and_refused_in_a_tar(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"p1\\": b"", "p1\\a.dcm": b"1"})
    with unpacked(path) as place:
        assert held(place) == {"p1/a.dcm": b"1"}
    assert code_of(zipped(tmp_path / "b.zip", {"p1\\..\\..\\a.dcm": b"1"})) == "archive_unsafe"
    assert code_of(tarred(tmp_path / "a.tar", {"p1\\a.dcm": b"1"})) == "archive_unsafe"


def test_a_zero_byte_in_a_name_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"aXb": b"1"})
    path.write_bytes(path.read_bytes().replace(b"aXb", b"a\0b"))
    assert code_of(path) == "archive_unsafe"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    assert code_of(tarred(tmp_path / "a.tar", {"a": b""}, change=change)) == "archive_unsafe"


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert code_of(tmp_path / "a.zip") == "archive_unsafe"


@pytest.mark.parametrize("files", [[("a", b"1"), ("a", b"2")], [("a", b"1"), ("./a", b"2")], [("a", b"1"), ("a/b", b"2")]])
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_that_would_be_one_are_refused(tmp_path: Path, kind: str, files: list[tuple[str, bytes]]) -> None:
    path = tmp_path / kind
    if kind == "a.zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files:
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w") as archive:
            for name, content in files:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert code_of(path) == "archive_unsafe"


@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_odd_names_get_names_that_every_disk_takes_and_keep_their_endings(tmp_path: Path, kind: str) -> None:
    odd = {"x" * 300 + ".nii.gz": b"1", "P/IM1.dcm": b"2", "p/im1.dcm": b"3", "a\tb.dcm": b"4", "sound.dcm": b"5"}
    path = write(tmp_path / kind, odd)
    listed = [member.name for member in members(path)]
    with unpacked(path) as place:
        assert sorted(held(place)) == listed
        assert sorted(held(place).values()) == sorted(odd.values())
    assert len({name.casefold() for name in listed}) == len(odd)
    assert all(len(os.fsencode(part)) < 255 and part.isprintable() for name in listed for part in name.split("/"))
    assert [name for name in listed if name.endswith(".nii.gz")] != []
    assert "sound.dcm" in listed
    for name in listed:
        with unpacked(path, [name]) as place:
            assert list(held(place)) == [name]


def test_the_names_do_not_depend_on_the_order_of_members(tmp_path: Path) -> None:
    odd = {"B": b"1", "b": b"2", "c": b"3", "C": b"4"}
    one, other = write(tmp_path / "a.tar", odd), write(tmp_path / "b.tar", dict(reversed(odd.items())))
    with unpacked(one) as place, unpacked(other) as twin:
        assert held(place) == held(twin)


def test_a_name_that_is_no_utf8_is_read_alike_each_time(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"MXller/a.dcm": b"1"})
    raw = bytearray(path.read_bytes())
    raw[1] = 0xFC
    raw[148:156] = b"%06o\0 " % (sum(raw[:512]) - sum(raw[148:156]) + 8 * 32)
    path.write_bytes(raw)
    (listed,) = members(path)
    assert listed.name.endswith("/a.dcm")
    listed.name.encode()
    with unpacked(path, [listed.name]) as place:
        assert held(place) == {listed.name: b"1"}


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"12345678901234"})
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert code_of(path) == "archive_encrypted"


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_cut_anywhere_is_never_taken_for_a_whole_one(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    whole = path.read_bytes()
    last = len(whole.rstrip(b"\0")) if name == "a.tar" else len(whole) - 1
    for end in {*range(0, last, max(1, last // 23)), 512, 1024, 2048, 2560, last}:
        if end <= last:
            path.write_bytes(whole[:end])
            assert code_of(path) == "archive_corrupt", end


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_a_flipped_bit_in_a_packed_archive_is_corrupt(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {"a": os.urandom(3000)})
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    path.write_bytes(raw)
    assert code_of(path) == "archive_corrupt"


def test_a_damaged_header_within_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"a": b"1", "b": b"2", "c": b"3"})
    raw = bytearray(path.read_bytes())
    raw[1024] ^= 1  # the name of the second member, so that its header's sum is wrong
    path.write_bytes(raw)
    assert code_of(path) == "archive_corrupt"
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["a"]  # what the library says of it


def test_members_behind_the_end_of_a_tar_are_not_lost_in_silence(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"a": b"1"})
    path.write_bytes(path.read_bytes() + tarred(tmp_path / "b.tar", {"b": b"2"}).read_bytes())
    assert code_of(path) == "archive_corrupt"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06", bytes(100), gzip.compress(b"no tar", mtime=0)])
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_what_is_no_archive_is_corrupt(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert code_of(tmp_path / name) == "archive_corrupt"
    assert code_of(tmp_path / f"gone-{name}") == "archive_corrupt"


def test_an_archive_without_members_is_empty_and_not_wrong(tmp_path: Path) -> None:
    for path in (tarred(tmp_path / "a.tar", {}), zipped(tmp_path / "a.zip", {})):
        assert members(path) == ()


def bomb(path: Path, size: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as member:
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return path


def test_a_small_archive_that_claims_gigabytes_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"1"})
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02") + 24
    raw[place : place + 4] = (2**31).to_bytes(4, "little")
    path.write_bytes(raw)
    assert code_of(path) == "archive_too_large"


def test_limits_hold_for_members_bytes_and_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip")
    for limit, value in (("MOST_MEMBERS", 3), ("MOST_BYTES", 2000), ("KEPT_FREE", 2**62)):
        with monkeypatch.context() as patch:
            patch.setattr(archives, limit, value)
            assert code_of(path) == "archive_too_large"
    with monkeypatch.context() as patch:
        patch.setattr(archives, "SMALL_BYTES", 1000)
        assert code_of(bomb(tmp_path / "b.zip", 1 << 22)) == "archive_too_large"


def test_a_member_larger_than_it_says_is_cut_off_at_what_it_said(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.zip", 1 << 22)
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02") + 24
    raw[place : place + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(raw)
    assert code_of(path) == "archive_corrupt"


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_headers_of_a_tar_that_hold_megabytes_take_no_memory(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 1 << 26
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 26), 1))
    tracemalloc.start()
    try:
        assert code_of(tmp_path / "a.tar.gz") == "archive_corrupt"
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("size", "raised"), [(4, ScanError), (5, None), (6, EOFError)])
def test_as_many_bytes_are_written_as_were_told_and_no_more(tmp_path: Path, size: int, raised: type[Exception] | None) -> None:
    with pytest.raises(raised) if raised else contextlib.nullcontext():
        archives._write(tmp_path / "a.zip", io.BytesIO(b"12345"), Member("a", size), tmp_path / "a")
    assert (tmp_path / "a").stat().st_size <= size


def test_a_file_with_holes_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("holes")
    info.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert code_of(tmp_path / "a.tar") == "archive_unsafe"


def test_an_archive_within_an_archive_is_left_as_it_is(tmp_path: Path) -> None:
    inner = write(tmp_path / "inner.zip").read_bytes()
    with unpacked(zipped(tmp_path / "a.zip", {"inner.zip": inner})) as place:
        assert held(place) == {"inner.zip": inner}


def test_a_disk_that_takes_no_more_is_told_as_such_and_not_as_a_damaged_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a": os.urandom(1 << 20)})
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, usual[1]))
    try:
        with pytest.raises(ResourceError, match="could not be unpacked"), unpacked(path, below=tmp_path / "below"):
            pytest.fail("it was unpacked")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list((tmp_path / "below").iterdir()) == []


def saved(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / name).read_bytes()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_any_bytes_give_members_or_a_reason(name: str) -> None:
    @settings(max_examples=80, deadline=None)
    @given(changed(saved(name)), st.booleans())
    def check(content: bytes, short: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content[:-30] if short else content)
            with contextlib.suppress(ScanError):
                listed = members(path)
                with unpacked(path, below=Path(folder) / "below") as place:
                    assert {name: len(one) for name, one in held(place).items()} == {m.name: m.size for m in listed}
            assert {one.name for one in Path(folder).rglob("*")} <= {name, "below"}

    check()
