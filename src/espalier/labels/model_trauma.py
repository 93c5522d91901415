"""Trauma for a language model: it is asked about structures, and its answers become the columns of RATIC.

Columns of one structure exclude each other, so the model never answers them one by one: a structure has one state, and for
a graded one `low` or `high` stands in place of `present`. Grades are those of the AAST (2018 revision).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from espalier.errors import SettingsError
from espalier.labels.answers import Answer, section_at
from espalier.labels.findings import RATIC_BINARY, RATIC_GRADED
from espalier.labels.language import Language
from espalier.labels.reading import Reading
from espalier.labels.rules import RANK, Mention
from espalier.labels.targets import named_findings

STRUCTURES: Final = (*RATIC_GRADED, *RATIC_BINARY)
GRADED_STATES: Final = ("low", "high", "absent", "uncertain", "not_mentioned")
_MEANT: Final[Mapping[str, str]] = {
    "kidney": "injury of a kidney by trauma",
    "liver": "injury of the liver by trauma",
    "spleen": "injury of the spleen by trauma",
    "bowel": "injury of the bowel or mesentery by trauma, free air that no operation explains included",
    "extravasation": "active bleeding: contrast medium outside a vessel; not from bladder, ureter, bowel or injection site",
}
_LOW: Final = "AAST grade I to III, or an injury for which neither a grade nor a sign of a high one is told"
_HIGH: Final[Mapping[str, str]] = {
    "kidney": "a laceration into the collecting system or with leaking urine, a torn renal pelvis, a segmental or main vessel"
    " torn or blocked with infarction, bleeding beyond Gerota's fascia, a shattered or devascularised kidney, an avulsed hilum",
    "liver": "disruption of more than 25 % of a lobe, bleeding out of the liver into the peritoneal cavity, injury of the"
    " retrohepatic vena cava or the central hepatic veins",
    "spleen": "a pseudoaneurysm, arteriovenous fistula or active bleeding of the spleen, more than 25 % devascularised, a"
    " shattered spleen",
}


def structures_of(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the structures that columns of RATIC tell of, in a fixed order; `any_injury` tells of all."""
    named = {_structure(column) for column in columns}
    return STRUCTURES if "any" in named else tuple(name for name in STRUCTURES if name in named)


def definition_of_structure(structure: str, own: str = "") -> str:
    """Return what a model is told of a structure: the study's own words or ours, and how low and high are told apart."""
    words = own or _MEANT[structure]
    if structure in RATIC_BINARY:
        return words
    return f"{words}, in place of present: low = {_LOW}; high = AAST grade IV or V, as {_HIGH[structure]}"


def own_definitions(definitions: Mapping[str, str], columns: tuple[str, ...]) -> dict[str, str]:
    """Return the study's definitions by structure.

    Raises
    ------
    SettingsError
        Where a name is none, or one column of a structure, or `any_injury`: no column is asked by itself.
    """
    setting = "[labels.model] definitions"
    out: dict[str, str] = {}
    for name, own in named_findings(tuple(definitions), columns, setting=setting).items():
        structure = _structure(own[0])
        if len(own) == 1:
            whole = structure if structure in STRUCTURES else ", ".join(STRUCTURES)
            found, do = f"{name!r}, a column that is not asked by itself", f"Write {whole} instead."
            raise SettingsError(setting, found=found, expected="a structure", do=do)
        out[structure] = definitions[name]
    return out


def by_structure(reading: Reading) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Return for each structure whether a reading calls it injured, and all that it says of that."""
    said: dict[str, set[str]] = {}
    for mention in reading.mentions:
        state = "absent" if mention.finding.endswith("_healthy") else mention.state
        said.setdefault(_structure(mention.finding), set()).add(state)
    return {name: _injury(reading.states, name) for name in STRUCTURES}, said


def with_structures(reading: Reading, answers: Mapping[str, Answer | None], *, rule: str, language: Language) -> Reading:
    """Return a reading with a model's answers about structures in the place of what the rules said of them.

    An uncertain injury has the grade that the rules saw. Whether there is any injury follows from all structures; where one
    of them has no answer and no other is injured, it is `failed` too.
    """
    if not answers:
        return reading
    states, mentions = dict(reading.states), [m for m in reading.mentions if _structure(m.finding) not in answers]
    for structure, answer in answers.items():
        state = answer.state if answer else "failed"
        high = state == "high" or (state == "uncertain" and reading.states.get(f"{structure}_high") == "uncertain")
        injury = "present" if state in {"low", "high"} else state
        states |= _columns(structure, injury, high=high)
        if answer is not None and answer.end:
            column, told = _told(structure, injury, high=high)
            place = (answer.start, answer.end)
            mentions.append(Mention(column, told, section_at(reading.text, answer.start, language), place, *place, rule))
    states["any_injury"] = _any([_injury(states, name) for name in STRUCTURES])
    mentions.sort(key=lambda m: (m.start, m.end, m.finding))
    return replace(reading, states={name: states[name] for name in reading.states}, mentions=tuple(mentions))


def _structure(column: str) -> str:
    return column.rpartition("_")[0]


def _injury(states: Mapping[str, str], structure: str) -> str:
    healthy = states[f"{structure}_healthy"]
    return {"present": "absent", "absent": "present"}.get(healthy, healthy)


def _columns(structure: str, injury: str, *, high: bool) -> dict[str, str]:
    """Return the columns of a structure; where it is injured, or healthy, exactly one of them is present."""
    out = {f"{structure}_healthy": {"present": "absent", "absent": "present"}.get(injury, injury)}
    if structure in RATIC_BINARY:
        return out | {f"{structure}_injury": injury}
    other = "absent" if injury in {"present", "uncertain"} else injury
    return out | {f"{structure}_low": other if high else injury, f"{structure}_high": injury if high else other}


def _told(structure: str, injury: str, *, high: bool) -> tuple[str, str]:
    """Return the column and state under which evidence stands, as the rules' does."""
    if injury == "absent":
        return f"{structure}_healthy", "present"
    if structure in RATIC_BINARY:
        return f"{structure}_injury", injury
    return f"{structure}_{'high' if high else 'low'}", injury


def _any(injuries: list[str]) -> str:
    if "failed" in injuries and "present" not in injuries:
        return "failed"
    return max((one for one in injuries if one != "failed"), key=lambda state: RANK[state])
