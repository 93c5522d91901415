"""What of a source is taken: by its layout, as a published data set or not, and each series once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from espalier.cohort import ct_rate, rad_chestct, ratic
from espalier.cohort.files import Single, single_series
from espalier.cohort.options import CohortOptions, Layout
from espalier.cohort.pseudonyms import pseudonym_of, read_key
from espalier.cohort.series import Series
from espalier.errors import InputError
from espalier.outputs import safe_id
from espalier.stage import Rows

PUBLISHED: Final = frozenset({"ct-rate", "rad-chestct", "ratic"})
TAKEN: Final = {"dicom": (True, False), "ratic": (True, False), "mixed": (True, True)}
"""Whether DICOM and whether single files are taken; single files alone in all other layouts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies below the sources.

    Parameters
    ----------
    series
        Every CT series, chosen or not; DICOM ones without the names of their files, which the index keeps.
    set_aside
        Rows for files that are named or damaged, but belong to no series.
    others
        How many files are no scans.
    beside
        How many files are of the layout that is not taken.
    words
        Sentences on a published data set's tables.
    """

    series: Sequence[Series]
    set_aside: Rows
    others: int = 0
    beside: int = 0
    words: tuple[str, ...] = ()


def taken(
    found: Found,
    dicom: Sequence[Series],
    singles: Sequence[Single],
    *,
    source: Path,
    options: CohortOptions,
    folder: Path,
) -> Found:
    """Return the series of one source that its layout asks for.

    Parameters
    ----------
    found
        What is known of the source besides.
    dicom, singles
        Everything that lies there.
    source, options, folder
        The source, the study's settings and its folder.

    Raises
    ------
    InputError
        Where there is nothing of the wanted layout, or a table cannot be used.
    """
    wanted = options.layout or _guessed(dicom, singles, source)
    with_dicom, with_singles = TAKEN.get(wanted, (False, True))
    beside = (0 if with_dicom else len(dicom)) + (0 if with_singles else len(singles))
    if not (with_dicom and dicom) and not (with_singles and singles) and not found.set_aside:
        told = f"{len(singles)} single files of volumes and {len(dicom)} CT series in DICOM"
        raise InputError(source, found=told, expected=f"files of layout {wanted!r}", do="Correct [cohort] layout.")
    key = read_key(folder / options.pseudonyms) if options.pseudonyms else None
    if wanted in PUBLISHED:
        return _published(wanted, dicom, singles, source, key, replace(found, beside=beside))
    table = folder / options.table if options.table else None
    single, absent = single_series(singles, table, encoding=options.encoding) if with_singles else ([], [])
    rows = [_named_only(name, key) for name in absent]
    series = [*(dicom if with_dicom else []), *single]
    return replace(found, series=series, set_aside=[*found.set_aside, *rows], beside=beside)


def _guessed(dicom: Sequence[Series], singles: Sequence[Single], source: Path) -> Layout:
    """Return the layout by names and tables: a published data set's where all looks like it, else DICOM before single files."""
    if dicom:
        return "ratic" if ratic.is_beside_its_tables(source) else "dicom"
    if ct_rate.has_its_names(singles):
        return "ct-rate"
    return "rad-chestct" if rad_chestct.has_its_names(singles) else "nifti"


def _published(
    layout: str, dicom: Sequence[Series], singles: Sequence[Single], source: Path, key: bytes | None, found: Found
) -> Found:
    """Return what the names and tables of a published data set say."""
    if layout == "ratic":
        told = ratic.enrich(dicom, source=source, key=key)
    else:
        told = (ct_rate if layout == "ct-rate" else rad_chestct).find_series(singles, source=source)
    series = [replace(one, notes=told.notes.get(one.scan, ())) for one in told.series]
    set_aside = [*found.set_aside, *told.set_aside]
    return replace(found, series=series, set_aside=set_aside, others=found.others + told.others, words=told.words)


def each_once(series: Sequence[Series]) -> tuple[list[Series], Rows]:
    """Keep one of the copies of a series that lies in two sources; set both aside where they differ, as parts of one do."""
    by_scan: dict[str, list[Series]] = {}
    for one in series:
        by_scan.setdefault(one.scan, []).append(one)
    once: list[Series] = []
    rows: Rows = []
    for copies in by_scan.values():
        alike = all(one.content and one.content == copies[0].content for one in copies)
        if len(copies) == 1 or alike:
            once.append(copies[0])
        rows += [_aside(one, alike=alike) for one in (copies[1:] if alike else copies if len(copies) > 1 else ())]
    return once, rows


def _aside(one: Series, *, alike: bool) -> dict[str, Any]:
    if alike:
        code, found, do = "series_twice", "the same series lies in another source", "Nothing: the other copy is used."
    elif one.format == "dicom":
        code, found = "series_torn", "another part of the series lies in another source"
        do = "Bring the series' files into one source."
    else:
        code, found = "name_twice", "another file has this name below another source"
        do = "Let folders tell the patients apart, or name the folder above both as the one source."
    return {
        "source": one.source,
        "scan": "" if alike else one.scan,
        "reason": code,
        "found": found,
        "expected": "each series once",
        "do": do,
    }


def _named_only(name: str, key: bytes | None) -> dict[str, Any]:
    return {
        "source": pseudonym_of("file", name, key) if key else name,
        "scan": "" if key else safe_id(name),
        "reason": "missing_file",
        "found": "named in the table, but in no source",
        "expected": "a file of that name",
        "do": "Correct the table, or copy the file.",
    }
