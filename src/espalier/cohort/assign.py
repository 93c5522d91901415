"""From what is settled to a split for every patient: official, kept from before, tied to another patient, or drawn."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from espalier.cohort.options import SplitOptions
from espalier.cohort.stratify import Unit, stratified, unit_of

ORDER: Final = ("train", "validation", "test")
"""Where the patients tied to one are torn, a new one joins the first of these: so it spoils no further test patient."""
LEAKAGE: Final = ", leakage"

Place = tuple[str, str]
"""A split and why: `table` or `official` (given), `hash` or `label` (drawn), `tied` (follows another), `kept` (from before)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What decides before anything is drawn.

    Parameters
    ----------
    official
        The split that a table, or the data set itself, gives a patient.
    word
        What `why` says of those.
    validates
        Whether the official splits name validation patients, so that none of its training patients is drawn for it.
    kept
        The split of each patient in the study's earlier `splits.parquet` of the same settings.
    """

    official: Mapping[str, str] = field(default_factory=dict)
    word: str = "table"
    validates: bool = False
    kept: Mapping[str, str] = field(default_factory=dict)


def assign(
    patients: Sequence[str],
    options: SplitOptions,
    settled: Settled,
    *,
    tied: Sequence[tuple[str, str]] = (),
    having: Mapping[str, frozenset[str]] | None = None,
) -> dict[str, Place]:
    """Return split and why of each patient; neither the order of the patients nor that of the ties matters.

    Parameters
    ----------
    patients
        Each once.
    options
        Shares and seed.
    settled
        What is decided already.
    tied
        Pairs of patients who are one person, or show one volume.
    having
        Who has each finding that is to be balanced; None draws by hash alone.
    """
    places = {patient: place for patient in patients if (place := _given(patient, options, settled, having)) is not None}
    groups = tied_groups(patients, tied)
    drawn: dict[bool, list[tuple[str, ...]]] = {True: [], False: []}
    for group in groups:
        _join(group, places, settled, drawn)
    for training, units in drawn.items():
        for unit, split in zip(units, _draw(units, training, options, settled, (places, having)), strict=True):
            for patient in unit:
                word = "label" if having is not None else "hash" if patient == _speaker(unit, options) else "tied"
                own = settled.official.get(patient)
                places[patient] = (split, settled.word if own == split else word)
    for group in groups:
        if len({places[patient][0] for patient in group}) > 1:
            places |= {patient: (places[patient][0], places[patient][1] + LEAKAGE) for patient in group}
    return places


def leakage_words(places: Mapping[str, Place], groups: Sequence[Sequence[str]]) -> str:
    """Return a sentence for each pair of splits that share tied patients, "" where none do."""
    told = []
    for other, split in combinations(ORDER, 2):
        torn = [[places[p][0] for p in group] for group in groups]
        count = sum(splits.count(split) for splits in torn if other in splits)
        if count:
            who = f"{count} patients of {split} have" if count > 1 else f"1 patient of {split} has"
            told.append(f"leakage: {who} a near-duplicate in {other}")
    return "; ".join(reversed(told))


def split_by_hash(patient: str, options: SplitOptions) -> str:
    """Return the split of a patient that nothing else decides."""
    if _share(options.seed, "test", patient) < options.test:
        return "test"
    return _validation_or_train(patient, options)


def tied_groups(patients: Sequence[str], tied: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return the patients in groups that must share a split, most of one patient; ties may lead over absent patients."""
    leader: dict[str, str] = {}

    def find(one: str) -> str:
        while leader.setdefault(one, one) != one:
            leader[one] = one = leader[leader[one]]
        return one

    for one, other in tied:
        leader[find(one)] = find(other)
    groups: dict[str, list[str]] = {}
    for patient in sorted(set(patients)):
        groups.setdefault(find(patient), []).append(patient)
    return [tuple(group) for group in groups.values()]


def _given(patient: str, options: SplitOptions, settled: Settled, having: object) -> Place | None:
    """Return where a patient stands before anything is drawn, None where nowhere yet."""
    own, before = settled.official.get(patient), settled.kept.get(patient)
    if own is not None and (own != "train" or settled.validates):
        return own, settled.word
    if before is None or (own == "train" and before == "test"):
        return None
    if own == before:
        return before, settled.word
    by_hash = _validation_or_train(patient, options) if own else split_by_hash(patient, options)
    return before, "hash" if having is None and before == by_hash else "kept"


def _join(
    group: Sequence[str], places: dict[str, Place], settled: Settled, drawn: Mapping[bool, list[tuple[str, ...]]]
) -> None:
    """Give the open patients of a group the split of its settled ones; put them up to be drawn where there is none."""
    there = [split for split in ORDER if split in {places[p][0] for p in group if p in places}]
    still = [patient for patient in group if patient not in places]
    # An official training patient may validate, but never test.
    bound = [patient for patient in still if settled.official.get(patient) == "train"]
    if not there:
        if still:
            drawn[bool(bound)].append(tuple(still))
        return
    own = next((split for split in there if split != "test"), None)
    for patient in still:
        if patient not in bound:
            places[patient] = (there[0], "tied")
        elif own is not None:
            places[patient] = (own, settled.word if own == "train" else "tied")
    if bound and own is None:
        drawn[True].append(tuple(bound))


def _draw(
    units: Sequence[tuple[str, ...]],
    training: bool,
    options: SplitOptions,
    settled: Settled,
    known: tuple[Mapping[str, Place], Mapping[str, frozenset[str]] | None],
) -> list[str]:
    places, having = known
    if having is None:
        by_hash: Callable[[str, SplitOptions], str] = _validation_or_train if training else split_by_hash
        return [by_hash(_speaker(unit, options), options) for unit in units]
    within = 0.0 if training else options.test
    shares = {
        "train": (1 - within) * (1 - options.validation),
        "validation": (1 - within) * options.validation,
        "test": within,
    }
    before: dict[str, list[Unit]] = {split: [] for split in shares}
    for patient, (split, _) in places.items():
        official = settled.official.get(patient)
        if (official is None and not training) or (official == "train" and training and not settled.validates):
            before[split].append(unit_of((patient,), having))
    return stratified([unit_of(unit, having) for unit in units], shares, settled=before, seed=options.seed)


def _speaker(unit: Sequence[str], options: SplitOptions) -> str:
    """Return the patient whose hash draws for all of a unit."""
    return min(unit, key=lambda patient: (_share(options.seed, "speaker", patient), patient))


def _validation_or_train(patient: str, options: SplitOptions) -> str:
    return "validation" if _share(options.seed, "validation", patient) < options.validation else "train"


def _share(seed: int, purpose: str, patient: str) -> float:
    """Return a number in [0, 1) that looks drawn, but is a function of its arguments on every machine."""
    digest = hashlib.sha256(f"{seed}\x1f{purpose}\x1f{patient}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
