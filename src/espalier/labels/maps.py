"""Labels of one finding set said in another: a finding is the same there, narrower or broader, as the lexicons' `maps` say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from espalier.errors import SettingsError
from espalier.labels.findings import FINDINGS
from espalier.labels.lexicon import SHIPPED, read_lexicon
from espalier.labels.rules import RANK
from espalier.labels.trauma_words import is_trauma

Relation = Literal["exact", "narrower", "broader"]
RELATIONS: Final[tuple[Relation, ...]] = ("exact", "narrower", "broader")
_INVERSE: Final[Mapping[Relation, Relation]] = {"exact": "exact", "narrower": "broader", "broader": "narrower"}


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """`source` of one set is `target` of the other, or narrower or broader than it."""

    source: str
    relation: Relation
    target: str


def links(from_: str, to: str, *, folder: Path | None = None) -> tuple[Link, ...]:
    """Return what the lexicons say of each other; findings with one id are the same where neither says otherwise.

    Parameters
    ----------
    from_, to
        Lexicons: shipped names, or paths relative to `folder`. Either may hold the maps; each is read both ways.

    Raises
    ------
    SettingsError
        Where a map names no relation, or a finding that the other set does not have.
    """
    forward = _said(from_, to, folder)
    backward = (Link(one.target, _INVERSE[one.relation], one.source) for one in _said(to, from_, folder))
    told = dict.fromkeys([*forward, *backward])
    spoken = {one.source for one in told} | {one.target for one in told}
    ids = [f for f in _findings(from_, folder) if f in _findings(to, folder) and f not in spoken]
    return tuple(sorted([*told, *(Link(finding, "exact", finding) for finding in ids)]))


def mapped(
    labels: Mapping[str, str], from_: str, to: str, *, folder: Path | None = None, loose: bool = False
) -> dict[str, str]:
    """Return the states of one report in the findings of another set.

    A narrower finding that is there makes the broader one there, a broader one that is absent makes the narrower one absent.
    A broader one that is there leaves the narrower one uncertain; narrower ones that are all absent, with nothing broader
    or equal told, leave it not mentioned.

    Parameters
    ----------
    labels
        State per finding of `from_`.
    from_, to
        Lexicons, as for `links`; a set that shares nothing with the other gets no state but `not_mentioned`.
    loose
        Treat narrower and broader as equal, as published scores across sets do: of several the highest state counts.

    Raises
    ------
    SettingsError
        Where `labels` holds what is no finding of its set or no state, or as for `links`.
    """
    known = _findings(from_, folder)
    if odd := [f"{name} = {state}" for name, state in labels.items() if name not in known or state not in {*RANK, "failed"}]:
        expected = f"findings of {from_} and their states"
        raise SettingsError("labels to map", found=", ".join(odd[:5]), expected=expected, do="Correct them.")
    out = dict.fromkeys(_findings(to, folder), "not_mentioned")
    for link in links(from_, to, folder=folder):
        state = labels.get(link.source, "not_mentioned")
        told = state if loose else _told(state, link.relation)
        if RANK.get(told, 0) > RANK[out[link.target]]:
            out[link.target] = told
    return out


def losses(from_: str, to: str, *, folder: Path | None = None) -> dict[str, str]:
    """Return what gets lost on the way, in words, per finding of either set; empty where every finding has its equal."""
    told = links(from_, to, folder=folder)
    exact = {one.source for one in told if one.relation == "exact"}, {one.target for one in told if one.relation == "exact"}
    out = {}
    for finding in _findings(from_, folder):
        near = [one for one in told if one.source == finding]
        if finding not in exact[0]:
            words = ", ".join(f"{one.relation} than {one.target} of {to}" for one in near)
            out[finding] = words or f"has nothing like it in {to}"
    for finding in _findings(to, folder):
        if finding not in exact[1] and finding not in {one.target for one in told} | set(out):
            out[finding] = f"{from_} has nothing like it"
    return out


def _told(state: str, relation: Relation) -> str:
    if relation == "narrower" and state == "absent":
        return "not_mentioned"
    if relation == "broader" and state == "present":
        return "uncertain"
    return state


@cache
def _findings(name: str, folder: Path | None) -> tuple[str, ...]:
    if name in FINDINGS:
        return FINDINGS[name]
    return FINDINGS["ratic"] if is_trauma(name, folder=folder) else read_lexicon(name, folder=folder).findings


@cache
def _said(from_: str, to: str, folder: Path | None) -> tuple[Link, ...]:
    """Return what the lexicon `from_` says of the set `to`."""
    if is_trauma(from_, folder=folder):
        return ()
    groups = read_lexicon(from_, folder=folder).source.finding
    told = {finding: words[0].maps.get(to, ()) for finding, words in groups.items()}
    return tuple(link for finding, said in told.items() for link in links_of(finding, said, to, folder=folder))


def links_of(finding: str, said: str | Sequence[str], to: str, *, folder: Path | None = None) -> tuple[Link, ...]:
    """Return what a finding's `maps` say of the set `to`; raise `SettingsError` where they name what is not there."""
    return tuple(_link(finding, one, to, folder) for one in ((said,) if isinstance(said, str) else said))


def _link(finding: str, words: str, to: str, folder: Path | None) -> Link:
    relation, _, target = words.partition(":")
    known = _findings(to, folder)
    for name in RELATIONS:
        if relation.strip() == name and target.strip() in known:
            return Link(finding, name, target.strip())
    raise SettingsError(
        f"[finding.{finding}] maps",
        found=repr(words),
        expected=f"exact, narrower or broader, a colon and a finding of {to}",
        do=f"Findings of {to}: {', '.join(known)}." if to in SHIPPED else "Correct that line.",
    )
