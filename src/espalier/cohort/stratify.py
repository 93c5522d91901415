"""Splits in which rare findings are spread as wanted: iterative stratification, patient by patient.

After Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011: the rarest finding is
dealt out first, each of its patients to the split that still wants most of it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

PATIENTS: Final = ""
"""Stands for the number of patients among the findings' counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Patients who share one split, mostly a single one, and how many of them have each finding."""

    patients: tuple[str, ...]
    counts: Mapping[str, int]


def presence(labels: pl.DataFrame, scans: Sequence[str]) -> pl.DataFrame:
    """Return one column for each finding and one row for each scan: whether its labels say that it is present.

    Parameters
    ----------
    labels
        As `labels.parquet`: scan, finding, state.
    scans
        The cohort's scans in order.
    """
    findings = labels["finding"].unique(maintain_order=True).to_list()
    there = labels.filter(pl.col("state") == "present").select("scan", "finding").unique()
    have = {finding: set(own["scan"]) for (finding,), own in there.partition_by("finding", as_dict=True).items()}
    return pl.DataFrame({name: [scan in have.get(name, ()) for scan in scans] for name in findings})


def unit_of(patients: Sequence[str], having: Mapping[str, frozenset[str]]) -> Unit:
    """Return patients as one unit; `having` holds who has each finding."""
    counts = {finding: sum(patient in own for patient in patients) for finding, own in having.items()}
    return Unit(patients=tuple(patients), counts={PATIENTS: len(patients), **{f: n for f, n in counts.items() if n}})


def stratified(
    units: Sequence[Unit], shares: Mapping[str, float], *, settled: Mapping[str, Sequence[Unit]], seed: int
) -> list[str]:
    """Return a split for each unit, so that every finding comes near to its share of each split, rare ones first.

    Parameters
    ----------
    units
        Patients to deal out.
    shares
        Wanted share of each split; a split with share 0 gets nobody.
    settled
        Who is in each split already; they count, and stay.
    seed
        Decides the order among equals.
    """
    wanted = _wanted(units, shares, settled)
    order = sorted(range(len(units)), key=lambda n: _digest(seed, *units[n].patients))
    dealt: dict[int, str] = {}
    while len(dealt) < len(units):
        left = [n for n in order if n not in dealt]
        finding = _rarest([units[n] for n in left])
        for n in left:
            if finding in units[n].counts:
                dealt[n] = _deal(units[n], finding, wanted, seed)
    return [dealt[n] for n in range(len(units))]


def _wanted(
    units: Sequence[Unit], shares: Mapping[str, float], settled: Mapping[str, Sequence[Unit]]
) -> dict[str, dict[str, float]]:
    """Return for each finding and split how many more patients it wants."""
    totals: dict[str, float] = {}
    for unit in (*units, *(one for own in settled.values() for one in own)):
        for finding, count in unit.counts.items():
            totals[finding] = totals.get(finding, 0) + count
    wanted = {f: {split: share * total for split, share in shares.items() if share > 0} for f, total in totals.items()}
    for split, own in settled.items():
        for unit in own if shares[split] > 0 else ():
            for finding, count in unit.counts.items():
                wanted[finding][split] -= count
    return wanted


def _rarest(units: Sequence[Unit]) -> str:
    """Return the finding that the fewest units have; `PATIENTS` when none has any."""
    having: dict[str, int] = {}
    for unit in units:
        for finding in unit.counts:
            having[finding] = having.get(finding, 0) + 1
    return min((f for f in having if f != PATIENTS), key=lambda f: (having[f], f), default=PATIENTS)


def _deal(unit: Unit, finding: str, wanted: Mapping[str, dict[str, float]], seed: int) -> str:
    own, everyone = wanted[finding], wanted[PATIENTS]
    split = max(own, key=lambda s: (round(own[s], 6), round(everyone[s], 6), _digest(seed, s, *unit.patients)))
    for one, count in unit.counts.items():
        wanted[one][split] -= count
    return split


def _digest(seed: int, *parts: str) -> str:
    return hashlib.sha256("\x1f".join((str(seed), "stratify", *parts)).encode()).hexdigest()
