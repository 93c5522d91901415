"""Zip and tar archives, read safely: listed first, then written member by member into a folder of their own."""

import os
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Final, Self

from espalier.cohort.archive_names import safe_names
from espalier.errors import ResourceError, ScanError
from espalier.outputs import PRIVATE, UNWRITABLE, inside

SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MOST_MEMBERS: Final = 200_000
MOST_BYTES: Final = 64 * 2**30
SMALL_BYTES: Final = 2**30
MOST_PACKED: Final = 200
"""Archives that claim more than 1 GiB and more than 200 times their size are refused; CT packs 2 or 3 to 1."""
KEPT_FREE: Final = 2**30
"""So many bytes of the disk are left free."""
LONGEST_NAME: Final = 2000
DEEPEST: Final = 40
ENCRYPTED: Final = 0x1 | 0x40
EXTENDED: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
LONGEST_EXTENSION: Final = 1 << 20
CHUNK: Final = 1 << 20
BROKEN: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
Archive = zipfile.ZipFile | tarfile.TarFile
Info = zipfile.ZipInfo | tarfile.TarInfo


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file in an archive: its name once unpacked (see `safe_names`), and its size in bytes as it is told."""

    name: str
    size: int


def is_archive_name(name: str) -> bool:
    """Tell whether a file is an archive by its name."""
    return name.lower().endswith(SUFFIXES)


def members(path: Path) -> tuple[Member, ...]:
    """Return the regular files of an archive, in order of names; nothing is unpacked.

    Raises
    ------
    ScanError
        With the code `archive_unsafe`, `archive_encrypted`, `archive_corrupt` or `archive_too_large`.
    """
    with _opened(path) as archive:
        return tuple(member for member, _ in _listed(path, archive))


@contextmanager
def unpacked(path: Path, names: Sequence[str] | None = None, *, below: Path | None = None) -> Iterator[Path]:
    """Yield a folder that holds an archive's members, named as `members` lists them; it is removed when the block ends.

    Parameters
    ----------
    path
        A zip or tar archive.
    names
        The members that are wanted; all when absent.
    below
        In which folder it is made, so that `espalier.outputs.sweep` removes what a killed run left there; the system's
        folder for temporary files when absent.

    Raises
    ------
    ScanError
        As `members` does, or with the code `missing_file` where a wanted member is not there.
    """
    if below is not None:
        below.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = Path(tempfile.mkdtemp(prefix=".partial-archive-", dir=below))
    try:
        with _opened(path) as archive:
            _unpack(path, archive, names, place)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _BoundedHeaders(tarfile.TarInfo):
    """Headers of a tar file, but long names and extended headers of a size that no honest archive has are refused.

    They are read into memory whole, in whatever size they claim.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return one header."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in EXTENDED and header.size > LONGEST_EXTENSION):
            raise tarfile.ReadError("a header that claims too much")
        return header


@contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    try:
        if path.name.lower().endswith(".zip"):
            archive: Archive = zipfile.ZipFile(path)
        else:
            archive = tarfile.open(path, tarinfo=_BoundedHeaders, encoding="utf-8")  # noqa: SIM115
    except BROKEN as error:
        raise _corrupt(path, error) from error
    try:
        yield archive
    finally:
        archive.close()


def _listed(path: Path, archive: Archive) -> list[tuple[Member, Info]]:
    """Return the regular files with what the archive's library knows of them, by name; raise where any member is unsafe."""
    found: dict[str, tuple[int, Info]] = {}
    total, most = 0, min(MOST_BYTES, max(SMALL_BYTES, path.stat().st_size * MOST_PACKED))
    infos: Iterable[Info] = archive.infolist() if isinstance(archive, zipfile.ZipFile) else archive
    try:
        for count, info in enumerate(infos, start=1):
            size = _size(path, info)
            total += size or 0
            if count > MOST_MEMBERS or total > most:
                raise _too_large(path, f"{count} members of {total / 2**30:.1f} GiB")
            name = _plain_name(path, info)
            if size is None or not name:
                continue
            if name in found:
                raise _unsafe(path, "two members of one name")
            found[name] = (size, info)
        if isinstance(archive, tarfile.TarFile):
            _check_end(archive)
    except BROKEN as error:
        raise _corrupt(path, error) from error
    folders = {parent.as_posix() for name in found for parent in PurePosixPath(name).parents}
    if folders & found.keys():
        raise _unsafe(path, "a name that is both a file and a folder")
    safe = safe_names(found)
    return sorted(((Member(safe[name], size), info) for name, (size, info) in found.items()), key=lambda pair: pair[0].name)


def _size(path: Path, info: Info) -> int | None:
    """Return a regular file's size, None for a folder; raise for all else."""
    if isinstance(info, zipfile.ZipInfo):
        if info.external_attr >> 28 not in {0, 4, 8}:  # the file type of Unix modes: unset, folder, regular
            raise _unsafe(path, "a link or device")
        if info.flag_bits & ENCRYPTED:
            do = "Unpack it, and name the folder."
            raise ScanError(path, code="archive_encrypted", found="an encrypted member", expected="no password", do=do)
        return None if info.orig_filename.endswith(("/", "\\")) else info.file_size
    if not info.isdir() and (not info.isreg() or info.issparse()):
        raise _unsafe(path, "a link, a device or a file with holes")
    return None if info.isdir() else info.size


def _plain_name(path: Path, info: Info) -> str:
    """Return a member's name with single slashes; raise where it leads outside or is no name."""
    # Some programs for Windows write backslashes into zip files, against the format.
    name = info.orig_filename.replace("\\", "/") if isinstance(info, zipfile.ZipInfo) else info.name
    parts = PurePosixPath(name).parts
    if "\0" in name or "\\" in name or name.startswith("/") or ".." in parts or re.match("[A-Za-z]:", name):
        raise _unsafe(path, "a name that leads outside")
    if len(parts) > DEEPEST or len(name) > LONGEST_NAME:
        raise _unsafe(path, "a name that is too deep or too long")
    return PurePosixPath(*parts).as_posix() if parts else ""


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise where an archive ends without its mark: the library takes a cut or damaged header for the end in silence."""
    stream = archive.fileobj
    assert stream is not None
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise EOFError("the archive ends before its end")
    while chunk := stream.read(CHUNK):  # on to the end, where the packing keeps its checksum
        if chunk.count(0) < len(chunk):
            raise tarfile.ReadError("more behind its end")


def _unpack(path: Path, archive: Archive, names: Sequence[str] | None, place: Path) -> None:
    wanted = None if names is None else set(names)
    listed = [(member, info) for member, info in _listed(path, archive) if wanted is None or member.name in wanted]
    if wanted is not None and len(listed) < len(wanted):
        do = "Run `espalier ingest` again: the archive was changed."
        raise ScanError(path, code="missing_file", found="a member is gone", expected="what was there at ingest", do=do)
    if sum(member.size for member, _ in listed) > shutil.disk_usage(place).free - KEPT_FREE:
        raise _too_large(path, f"{sum(member.size for member, _ in listed) / 2**30:.1f} GiB, more than the disk has free")
    if isinstance(archive, tarfile.TarFile):
        listed.sort(key=lambda one: one[1].offset if isinstance(one[1], tarfile.TarInfo) else 0)  # packed tars go forward only
    for member, info in listed:
        try:
            with _stream(archive, info) as stream:
                _write(path, stream, member, inside(place, member.name))
        except BROKEN as error:
            raise _corrupt(path, error) from error


def _stream(archive: Archive, info: Info) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        assert isinstance(info, zipfile.ZipInfo)
        return archive.open(info)
    assert isinstance(info, tarfile.TarInfo)
    stream = archive.extractfile(info)
    if stream is None:
        raise tarfile.TarError("no file")
    return stream


def _write(path: Path, stream: IO[bytes], member: Member, target: Path) -> None:
    """Write one member, as many bytes as it was told to have and no more; its checksum is tested at its end."""
    written = 0
    with _created(path, target) as out:
        while chunk := stream.read(CHUNK):
            written += len(chunk)
            if written > member.size:
                raise _too_large(path, "a member that is larger than it says")
            out(chunk)
    if written < member.size:
        raise EOFError("a member ends before its end")


@contextmanager
def _created(path: Path, target: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield what writes bytes into a new file; a disk that takes no more is no fault of the archive."""

    def full(error: OSError) -> ResourceError:
        found, do = f"could not be unpacked ({error.strerror})", "Free the disk, then run the same command again."
        return ResourceError(path, found=found, do=do)

    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise full(error) from error
    with os.fdopen(descriptor, "wb", buffering=0) as out:

        def write(chunk: bytes) -> None:
            try:
                while chunk:
                    chunk = chunk[out.write(chunk) :]
            except OSError as error:
                raise full(error) from error

        yield write


def _unsafe(path: Path, found: str) -> ScanError:
    do = "Unpack it by hand where that is safe, and name the folder."
    return ScanError(path, code="archive_unsafe", found=found, expected="plain files below the archive's root", do=do)


def _too_large(path: Path, found: str) -> ScanError:
    do = "Unpack it onto a larger disk, and name the folder."
    return ScanError(path, code="archive_too_large", found=found, expected=f"at most {MOST_BYTES / 2**30:.0f} GiB", do=do)


def _corrupt(path: Path, error: BaseException) -> ScanError:
    found = (str(error) or type(error).__name__).splitlines()[0][:200]
    return ScanError(path, code="archive_corrupt", found=found, expected="a whole archive", do="Copy it again.")
