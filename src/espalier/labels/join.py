"""Whose report is it: the ids of a table against the scans of a cohort, directly or through a table that links them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import polars as pl

from espalier.cohort.cells import bare_id, plain_id
from espalier.cohort.pseudonyms import pseudonym_of
from espalier.errors import InputError
from espalier.labels.link import Link

_COLUMNS: Final[tuple[str, ...]] = ("accession", "study_uid", "scan", "patient", "stem", "series_uid")
PSEUDONYMS: Final = ("accession", "study_uid", "patient", "series_uid")
"""Columns that hold pseudonyms in place of ids, where the study has a key for them."""
_Scans = dict[str, list[str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """Who belongs to whom.

    Parameters
    ----------
    column
        What answered: the cohort's column or the link's name, "" where there is no cohort.
    scans
        Per id the scans whose report it is.
    lone_ids
        Ids without a scan, with the reason: `no_scan`, `not_in_link`, `link_disagrees` or `conflicting_reports`.
    lone_scans
        Scans without a report, with the reason: `no_report` or `conflicting_reports`.
    repeated
        Ids that say of their scans what another id says already.
    """

    column: str
    scans: dict[str, tuple[str, ...]]
    lone_ids: dict[str, str]
    lone_scans: dict[str, str]
    repeated: tuple[str, ...] = ()


def join(
    ids: Sequence[str],
    cohort: pl.DataFrame | None,
    *,
    source: str,
    link: Link | None = None,
    secret: bytes | None = None,
    also: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Joined:
    """Match ids with whichever of the cohort's id columns matches most of them (ties go to the first), or through a link.

    Parameters
    ----------
    ids
        One per report; compared in NFC and without marks that nobody sees or suffixes of files.
    cohort
        The table of scans, or None where there is none.
    source
        The table's name, for messages.
    link
        What the ids are called in the cohort, where they are none of its own.
    secret
        The key of the cohort's pseudonyms, where it has such in place of ids.
    also
        What else an id is called, as the volumes of CT-RATE whose rows hold one scan's report.

    Raises
    ------
    InputError
        Where there are scans but no id is any of theirs.
    """
    if cohort is None:
        return Joined(column="", scans={}, lone_ids={}, lone_scans={})
    columns = {name: _by_id(cohort, name) for name in _COLUMNS if name in cohort.columns}
    names = {one: (one, *also.get(one, ())) for one in ids}
    if link is None:
        column, scans, reasons = _directly(names, columns, secret)
    else:
        column, (scans, reasons) = link.source.name, _through(names, columns, link, secret)
    if ids and not scans:
        raise _no_match(ids, columns, source=source, link=link)
    taken = {scan for own in scans.values() for scan in own}
    return Joined(
        column=column,
        scans=scans,
        lone_ids=reasons,
        lone_scans={scan: "no_report" for scan in cohort["scan"] if scan not in taken},
    )


def settle(joined: Joined, contents: Mapping[str, Hashable], *, conflicting: Collection[str]) -> Joined:
    """Return the join with one report at most for each scan; ids that differ about a scan are taken out of it.

    Parameters
    ----------
    joined
        What `join` returned.
    contents
        What each id says, for comparison.
    conflicting
        Ids that say two things themselves.
    """
    claims: defaultdict[str, list[str]] = defaultdict(list)
    for one, scans in joined.scans.items():
        for scan in scans:
            claims[scan].append(one)
    torn = set(conflicting)
    for own in claims.values():
        # An id without a text says nothing that could differ.
        if len({contents[one] for one in own if contents[one]}) > 1 or torn.intersection(own):
            torn.update(own)
    # An id torn by one scan no longer speaks for its others.
    left = {scan: [one for one in own if one not in torn] for scan, own in claims.items()}
    speaks = {scan: next((one for one in own if contents[one]), own[0] if own else "") for scan, own in left.items()}
    kept = {one: tuple(s for s in scans if speaks[s] == one) for one, scans in joined.scans.items() if one not in torn}
    return replace(
        joined,
        scans={one: scans for one, scans in kept.items() if scans},
        lone_ids={one: reason for one, reason in joined.lone_ids.items() if one not in torn}
        | dict.fromkeys(sorted(torn), "conflicting_reports"),
        lone_scans=joined.lone_scans | {scan: "conflicting_reports" for scan, one in speaks.items() if not one},
        repeated=tuple(one for one, scans in kept.items() if not scans),
    )


def _by_id(cohort: pl.DataFrame, column: str) -> _Scans:
    own: _Scans = {}
    for scan, value in zip(cohort["scan"], cohort[column], strict=True):
        if value and (one := bare_id(str(value))):
            own.setdefault(one, []).append(scan)
    return own


def _directly(
    names: Mapping[str, Sequence[str]], columns: Mapping[str, _Scans], secret: bytes | None
) -> tuple[str, dict[str, tuple[str, ...]], dict[str, str]]:
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for column, own in columns.items():
        called = {one: [_called(name, column, secret) for name in each] for one, each in names.items()}
        scans = {one: dict.fromkeys(scan for other in each for scan in own.get(other, ())) for one, each in called.items()}
        found[column] = {one: tuple(each) for one, each in scans.items() if each}
    best = max(found, key=lambda column: len(found[column]))
    return best, found[best], {one: "no_scan" for one in names if one not in found[best]}


def _called(one: str, column: str, secret: bytes | None) -> str:
    """Return what a column of the cohort calls an id."""
    return pseudonym_of(column, bare_id(one), secret) if secret and column in PSEUDONYMS else bare_id(one)


def _through(
    names: Mapping[str, Sequence[str]], columns: Mapping[str, _Scans], link: Link, secret: bytes | None
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    holders = {column: {scan for scans in own.values() for scan in scans} for column, own in columns.items()}
    scans: dict[str, tuple[str, ...]] = {}
    reasons: dict[str, str] = {}
    for one, each in names.items():
        named = [row for name in each for row in link.rows.get(plain_id(name), ())]
        rows = [{column: _called(other, column, secret) for column, other in row.items()} for row in named]
        answers = [_linked(row, columns, holders) for row in rows]
        if not answers:
            reasons[one] = "not_in_link"
        elif any(answer is None for answer in answers):
            reasons[one] = "link_disagrees"
        elif any(answers):
            scans[one] = tuple(dict.fromkeys(scan for answer in answers for scan in answer or ()))
        else:
            reasons[one] = "no_scan"
    return scans, reasons


def _linked(row: Mapping[str, str], columns: Mapping[str, _Scans], holders: Mapping[str, set[str]]) -> list[str] | None:
    """Return the scans that all ids of a row name, none where no id is known, or None where the ids name different ones."""
    named = {column: columns[column].get(one, []) for column, one in row.items() if column in columns}
    filled = [own for own in named.values() if own]
    if not filled:
        return []
    # A scan that has no id of its own in a column is not contradicted there; one with another id is.
    others = [holders[column] for column, own in named.items() if not own]
    shared = [s for s in filled[0] if all(s in own for own in filled[1:]) and not any(s in other for other in others)]
    return shared or None


def _no_match(ids: Sequence[str], columns: Mapping[str, _Scans], *, source: str, link: Link | None) -> InputError:
    where = f" through {link.source.name}" if link else ""
    do = "Name the column with such ids in [labels] id_column, or a table that links them in [labels] link."
    without_zeros = Counter(name for name, own in columns.items() for one in own if one.lstrip("0") in set(ids))
    if without_zeros and not link:
        column = without_zeros.most_common(1)[0][0]
        do = f"Its ids are those of {column} without leading zeros, as a spreadsheet leaves them: export them as text."
    return InputError(
        source,
        found=f"none of its {len(ids)} ids is that of a scan{where}",
        expected=f"ids as in cohort.parquet: {', '.join(columns)}",
        do=do,
    )
