"""Reports of patients who have withdrawn, known by any id that the study had for them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from espalier.cohort.cells import bare_id, plain_id
from espalier.cohort.forgotten import Forgotten, holds, read_forgotten
from espalier.cohort.pseudonyms import pseudonym_of
from espalier.cohort.splits import ID_COLUMNS
from espalier.labels.join import PSEUDONYMS
from espalier.labels.link import Link, read_link
from espalier.labels.options import LabelOptions
from espalier.labels.reports import Reports

COLUMNS: Final = frozenset(ID_COLUMNS.values())


def withdrawn(
    reports: Reports,
    forgotten: Forgotten,
    *,
    columns: Collection[str] = COLUMNS,
    link: Link | None = None,
    secret: bytes | None = None,
) -> frozenset[str]:
    """Return the ids of reports that are on a study's list of the forgotten.

    Parameters
    ----------
    reports
        The reports by id.
    forgotten
        The list.
    columns
        Columns of the cohort whose ids the reports may bear.
    link
        What the ids are called in the cohort, where they are none of its own.
    secret
        The key of the study's pseudonyms: its list is one of these.
    """
    if not forgotten.hashes:
        return frozenset()
    own = link.rows if link else MappingProxyType({})
    return frozenset(
        one
        for one in reports.rows
        if any(
            holds(forgotten, kind, called)
            for name in (one, *reports.volumes.get(one, ()))
            for kind, value in _names(name, columns, own)
            for called in _called(kind, value, secret)
        )
    )


def texts_left(reports: Reports, options: LabelOptions, *, folder: Path, secret: bytes | None = None) -> list[str]:
    """Return the texts of reports without those of patients who have withdrawn, wherever the ids may have come from."""
    forgotten = read_forgotten(folder)
    link = read_link(folder / options.link, id_column=options.id_column, encoding=options.encoding) if options.link else None
    gone = withdrawn(reports, forgotten, link=link, secret=secret)
    return [text for one, text in reports.texts.items() if one not in gone]


def _names(name: str, columns: Collection[str], link: Mapping[str, Sequence[Mapping[str, str]]]) -> list[tuple[str, str]]:
    linked = [named for row in link.get(plain_id(name), ()) for named in row.items()]
    return [("report", name), *((column, name) for column in columns), *linked]


def _called(kind: str, value: str, secret: bytes | None) -> tuple[str, ...]:
    """Return what the list may call an id: as it is, and without the ending of a file."""
    forms = dict.fromkeys((value, bare_id(value)))
    keyed = secret is not None and kind in {"report", *PSEUDONYMS}
    return tuple(pseudonym_of(kind, form, secret) if keyed and secret else form for form in forms)
