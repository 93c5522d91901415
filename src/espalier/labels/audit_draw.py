"""Which labels people read again: cells of (report, finding), drawn by what the rules said, and the record of the draw.

All findings draw from one random order of the reports, each stratum its first ones. Within a stratum that is a simple random
draw, and few reports serve many findings.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from espalier.errors import InputError, MissingError
from espalier.outputs import hash_of, read_json, write_json

Stratum = Literal["present", "uncertain", "negative"]
Side = Literal["positive", "negative", "out"]
STRATA: Final[tuple[Stratum, ...]] = ("present", "uncertain", "negative")
STRATUM_OF: Final[Mapping[str, Stratum]] = {
    "present": "present",
    "uncertain": "uncertain",
    "absent": "negative",
    "not_mentioned": "negative",
}
"""What the rules said, as it is drawn by; labels with another state, as `failed`, are not drawn."""
FOLDER: Final = "audit"
DRAWN: Final = "drawn.json"
SHEET: Final = "sheet.html"
SCORE: Final = "score.json"
SCORE_PAGE: Final = "score.html"
KIND: Final = "audit"
OLD_KIND: Final = "record"
"""What `drawn.json` was called before audits had a kind of their own; such audits count as any other."""
_LETTERS: Final = "bcdfghjkmnpqrstvwxz"  # without vowels: a spreadsheet turns mar2012 into a date


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One question to a reader: whether a report says a finding, of which the rules said `state`."""

    id: str
    report: str
    finding: str
    state: str

    @property
    def stratum(self) -> Stratum:
        """The stratum that it was drawn from."""
        return STRATUM_OF[self.state]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A draw, as `drawn.json` keeps it.

    Parameters
    ----------
    number, seed
        Which audit of the study it is, and the seed of its order.
    blind
        Whether the sheet hides what the rules said.
    labels
        The hash of what the rules said of all reports (`hash_of_states`).
    uncertain
        Per finding what uncertain counts as, for the rules and for readers alike.
    sizes
        Per finding and stratum the labels that it was drawn from.
    cells
        What was drawn, in the order of the sheet.
    """

    number: int
    seed: int
    blind: bool
    labels: str
    uncertain: Mapping[str, Side]
    sizes: Mapping[str, Mapping[Stratum, int]]
    cells: tuple[Cell, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that are audited."""
        return tuple(self.sizes)

    @property
    def reports(self) -> tuple[str, ...]:
        """The reports to be read, in the order of the sheet."""
        return tuple(dict.fromkeys(cell.report for cell in self.cells))


def shares(total: int, sizes: Mapping[Stratum, int]) -> dict[Stratum, int]:
    """Return how many cells of a finding come from each stratum: a third each, and what one lacks goes to the negative ones.

    What the rules missed hides among the many negative labels; more of them make recall surer.
    """
    third = max(1, total // 3)
    own: dict[Stratum, int] = {name: min(third, sizes.get(name, 0)) for name in ("present", "uncertain")}
    for name in ("negative", "present", "uncertain"):
        rest = total - sum(own.values())
        own[name] = min(own.get(name, 0) + rest, sizes.get(name, 0))
    return own


def draw(states: pl.DataFrame, *, cells: int, seed: int, number: int) -> tuple[dict[str, dict[Stratum, int]], tuple[Cell, ...]]:
    """Draw about `cells` cells for each finding.

    Parameters
    ----------
    states
        `report`, `finding`, `state`: each pair of report and finding once, without those that must not be drawn.
    cells
        How many for each finding, where there are as many.
    seed, number
        Of the order; each audit of a study has an order of its own.

    Returns
    -------
    Per finding and stratum how many labels there are, and the cells in the order in which reports are read.
    """
    rank = {one: hash_of("audit", seed, number, one) for one in states["report"].unique()}
    findings = states["finding"].unique(maintain_order=True).to_list()
    sizes: dict[str, dict[Stratum, int]] = {finding: dict.fromkeys(STRATA, 0) for finding in findings}
    rows = sorted(states.select("report", "finding", "state").iter_rows(), key=lambda row: rank[row[0]])
    rows = [row for row in rows if row[2] in STRATUM_OF]
    for _, finding, state in rows:
        sizes[finding][STRATUM_OF[state]] += 1
    left = {finding: shares(cells, own) for finding, own in sizes.items()}
    chosen = []
    for report, finding, state in rows:
        if left[finding][STRATUM_OF[state]] > 0:
            left[finding][STRATUM_OF[state]] -= 1
            chosen.append((report, finding, state))
    place = {finding: n for n, finding in enumerate(findings)}
    chosen.sort(key=lambda row: (rank[row[0]], place[row[1]]))
    mark = _mark(hash_of("cells", seed, number, chosen))
    drawn = [Cell(id=f"{mark}_{n:04d}", report=r, finding=f, state=s) for n, (r, f, s) in enumerate(chosen, start=1)]
    return sizes, tuple(drawn)


def _mark(digest: str) -> str:
    """Return four letters that tell the cells of one audit from those of another."""
    value = int(digest[:12], 16)
    return "".join(_LETTERS[value // len(_LETTERS) ** place % len(_LETTERS)] for place in range(4))


def states_of_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """Return what was said of each report, once, however many scans it has: `report`, `finding`, `state`."""
    return labels.select("report", "finding", "state").unique(maintain_order=True)


def hash_of_states(states: pl.DataFrame, *, without: Collection[str] = ()) -> str:
    """Return a hash of what was said of which report, whatever the order of the rows; `without` leaves reports out."""
    return hash_of(sorted(row for row in states.iter_rows() if row[0] not in without))


def audits(folder: Path) -> list[Path]:
    """Return the folders of a study's audits that were drawn to the end, by number."""
    found = [path for path in (folder / FOLDER).glob("*") if path.name.isdecimal() and (path / DRAWN).is_file()]
    return sorted(found, key=lambda path: int(path.name))


def write_drawn(path: Path, drawn: Drawn) -> None:
    """Write `drawn.json`: private, since it names reports, and with the weights for people who look."""
    counts = Counter((cell.finding, cell.stratum) for cell in drawn.cells)
    strata = {
        finding: {name: _told(size, counts[finding, name]) for name, size in own.items()}
        for finding, own in drawn.sizes.items()
    }
    content = asdict(drawn) | {"strata": strata, "cells": [[c.id, c.report, c.finding, c.state] for c in drawn.cells]}
    del content["sizes"]
    write_json(path, content, kind=KIND, private=True)


def _told(size: int, drawn: int) -> dict[str, Any]:
    return {"labels": size, "drawn": drawn, "weight": round(size / drawn, 6) if drawn else None}


def read_drawn(folder: Path) -> Drawn:
    """Return the draw of an audit's folder.

    Raises
    ------
    MissingError
        Where the folder holds no `drawn.json`.
    InputError
        Where that file is none of ours or was changed.
    VersionError
        Where a newer Espalier wrote it.
    """
    path = folder / DRAWN
    if not path.is_file():
        do = "Name an audit's folder, as audit/1, or draw one with --audit 90."
        raise MissingError(path, found="no such file, so there is no audit here", expected="the record of a draw", do=do)
    told = _content(path)
    try:
        return Drawn(
            **{name: told[name] for name in ("number", "seed", "blind", "labels", "uncertain")},
            sizes={finding: {name: int(own[name]["labels"]) for name in STRATA} for finding, own in told["strata"].items()},
            cells=_cells(told["cells"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, found="not the record of an audit", do="Bring back the file that the audit wrote.") from error


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, kind=KIND)
    except InputError:
        with suppress(InputError):
            return read_json(path, kind=OLD_KIND)
        raise


def _cells(rows: Sequence[Sequence[str]]) -> tuple[Cell, ...]:
    return tuple(Cell(id=one, report=report, finding=finding, state=state) for one, report, finding, state in rows)
