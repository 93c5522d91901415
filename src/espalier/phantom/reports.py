"""Made-up radiology reports: one text per scan that says its truth as people say it, in five styles of writing.

The sentences stand in `phrases/*.toml`. What is there is always stated; what is not there is denied, covered by a
sentence about several findings, said to have resolved, or not mentioned. "british" is the style held out for tests:
its sentences, spelling and section names occur in no other style.
"""

import string
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from espalier.phantom.findings import Anatomy, Detail, Truth

STYLES: Final[tuple[str, ...]] = ("prose", "headings", "structured", "terse", "british")

DENIED: Final = 0.75
"""Share of absent findings, not covered by a wider sentence, that a report denies; the others go unmentioned."""
RESOLVED: Final = 0.12
"""Share of absent findings that a report with an earlier examination says have resolved."""
COMPARED: Final = 0.5
"""Share of reports that name an earlier examination."""
COVERED: Final = 0.35
"""Share of the fitting sentences about whole regions that a report uses."""

ROMAN: Final = ("0", "I", "II", "III", "IV", "V")
COUNTS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
DENIALS: Final = (
    "No {either}.",
    "No {either} is seen.",
    "There is no evidence of {either}.",
    "{Either} was not observed.",
    "No sign of {either}.",
    "{Either} is not detected.",
    "The examination is negative for {either}.",
    "There is no {either}.",
)
BRITISH_DENIALS: Final = (
    "No {either} demonstrated.",
    "No {either} evident.",
    "I see no {either}.",
    "{Either} has been excluded.",
    "Nothing to suggest {either}.",
)
BRITISH_RESOLVED: Final = (
    "{Noun} on the earlier scan has cleared.",
    "The {noun} noted previously has gone.",
    "Since the earlier scan the {noun} has settled.",
)
PLAIN_REGION: Final = ("Unremarkable.", "Normal.", "No abnormality.")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a report and the region of the body it belongs to."""

    region: str
    text: str


def report_text(anatomy: Anatomy, truth: Truth, *, rng: np.random.Generator, style: str) -> str:
    """Return a report of the scan that `truth` describes.

    Parameters
    ----------
    anatomy
        "chest" or "trauma"; must be the truth's own.
    truth
        What the scan shows.
    rng
        Chooses the words; equal states give equal reports.
    style
        One of `STYLES`.

    Raises
    ------
    ValueError
        When the style is unknown or the truth is of the other anatomy.
    """
    if style not in STYLES:
        raise ValueError(f"style is {style!r}: expected one of {', '.join(STYLES)}")
    if anatomy != truth.anatomy:
        raise ValueError(f"anatomy is {anatomy!r}: the truth describes a {truth.anatomy} scan")
    writer = _Writer(truth, rng, british=style == "british")
    return _LAYOUTS[style](writer)


class _Writer:
    """Chooses the sentences of one report; the layouts below put them in order."""

    def __init__(self, truth: Truth, rng: np.random.Generator, *, british: bool) -> None:
        self.truth = truth
        self.rng = rng
        self.british = british
        self.phrases = _phrases(truth.anatomy)
        self.findings: Mapping[str, Mapping[str, Any]] = self.phrases["findings"]
        self.present, self.absent = present_and_absent(truth)
        self.compared = self.chance(COMPARED)
        self.open: list[str] = []

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, choices: Sequence[str]) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def section(self, name: str) -> str:
        sections = self.phrases["sections"]
        return self.pick(sections[f"british_{name}" if self.british and f"british_{name}" in sections else name])

    def heading(self, region: str) -> str:
        return self.pick(self.phrases["headings"][region])

    def sentences(self) -> list[Sentence]:
        """Return all sentences of the findings, region by region; `open` then names the regions that say nothing."""
        said = [*self._stated(), *self._denied(), *self._beside()]
        regions: list[str] = self.phrases["regions"]
        self.open = [r for r in regions if r not in {s.region for s in said} and not self._is_ill(r)]
        return sorted(said, key=lambda s: regions.index(s.region))

    def _is_ill(self, region: str) -> bool:
        return any(self.findings[f]["region"] == region for f in self.present)

    def impression(self) -> list[str]:
        """Return the findings in short; what is absent goes unsaid, or all of it is denied where nothing is present."""
        shown = [self._fill(f, self.findings[f]["british" if self.british else "short"]) for f in self.present]
        return shown or [self.section("nothing")]

    def _stated(self) -> list[Sentence]:
        said = []
        for finding in self.present:
            words = self.findings[finding]
            said.append(Sentence(words["region"], self._fill(finding, words["british" if self.british else "present"])))
            if self.compared and not self.british and "unchanged" in words and self.chance(0.4):
                said.append(Sentence(words["region"], self.pick(words["unchanged"])))
        return said

    def _denied(self) -> list[Sentence]:
        left = [f for f in self.absent if f in self.findings]
        said = []
        for normal in self.phrases["normals"]:
            covered = self._covered(normal, left)
            if covered and self.chance(COVERED):
                said.append(Sentence(normal["region"], self.pick(normal["british" if self.british else "text"])))
                left = [f for f in left if f not in covered]
        for finding in list(left):
            if self.compared and self._can_resolve(finding) and self.chance(RESOLVED):
                said.append(Sentence(self.findings[finding]["region"], self._resolution(finding)))
                left.remove(finding)
        left += [f for f, words in self.findings.items() if words.get("extra") and self.chance(0.25)]
        left = [f for f in left if self.chance(DENIED)]
        return said + self._lists(left)

    def _can_resolve(self, finding: str) -> bool:
        # An injury does not heal between two scans of one admission; only the other styles have words for a doubt laid to rest.
        return "resolved" in self.findings[finding] and not (self.british and self.truth.anatomy == "trauma")

    def _resolution(self, finding: str) -> str:
        words = self.findings[finding]
        if not self.british:
            return self.pick(words["resolved"])
        noun = self.pick(words["british_nouns"])
        return self.pick(BRITISH_RESOLVED).format(noun=noun, Noun=_capital(noun))

    def _covered(self, normal: Mapping[str, Any], left: Sequence[str]) -> list[str]:
        if set(normal.get("unless", ())) & set(self.truth.look_alikes):
            return []
        if "rest_of" in normal:
            rest = [f for f in normal["rest_of"] if f in left]
            ill = [f for f in normal["rest_of"] if f not in self.absent]
            return rest if ill and len(rest) + len(ill) == len(normal["rest_of"]) else []
        return list(normal["covers"]) if set(normal["covers"]) <= set(left) else []

    def _lists(self, findings: Sequence[str]) -> list[Sentence]:
        """Deny findings of a region one by one or two or three together."""
        said = []
        for region in self.phrases["regions"]:
            here = [f for f in findings if self.findings[f]["region"] == region]
            while here:
                size = int(self.rng.integers(1, 4))
                group, here = here[:size], here[size:]
                said.append(Sentence(region, self._denial(group)))
        return said

    def _denial(self, findings: Sequence[str]) -> str:
        nouns = [self.pick(self.findings[f]["british_nouns" if self.british else "nouns"]) for f in findings]
        either = nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} or {nouns[-1]}"
        template = self.pick(BRITISH_DENIALS if self.british else DENIALS)
        return template.format(either=either, Either=_capital(either))

    def _beside(self) -> list[Sentence]:
        """Name every look-alike where it lies, and now and then something that the scan does not show."""
        key = "british" if self.british else "text"
        look_alikes = [self.phrases["look_alikes"][name] for name in self.truth.look_alikes]
        said = [Sentence(words["region"], self.pick(words[key])) for words in look_alikes]
        for region, texts in self.phrases["asides"].items():
            if region.startswith("british_") == self.british and self.chance(0.3):
                said.append(Sentence(region.removeprefix("british_"), self.pick(texts)))
        return said

    def _fill(self, finding: str, templates: Sequence[str]) -> str:
        known = self._known(finding)
        fitting = [t for t in templates if _names(t) <= set(known)]
        return _capital(self.pick(fitting).format(**known))

    def _known(self, finding: str) -> dict[str, str]:
        """Return the words for what the truth's details say of a finding, by their names in the sentences."""
        group = finding.rpartition("_")[0]
        known: dict[str, str] = {}
        for key, value in self.truth.details.items():
            owner = next((o for o in (finding, group) if o and key.startswith(f"{o}_")), None)
            if owner:
                known |= self._words(key.removeprefix(f"{owner}_"), value)
        return known

    def _words(self, name: str, value: Detail) -> dict[str, str]:
        if name in {"mm", "size_mm"}:
            return {"mm": f"{float(value):.0f}", "cm": f"{float(value) / 10:.1f}"}
        if name in {"count", "lesions"}:
            return _counted(int(value))
        if name == "grade":
            return {"grade": str(value), "roman": ROMAN[int(value)]}
        if name == "ratio":
            return {"ratio": f"{float(value):.2f}"}
        if name in {"pattern", "place"}:
            return {name: self.phrases["words"][str(value)]["british" if self.british else "text"]}
        if name == "lobe":
            _, part, _, side = str(value).split("_")
            return {"lobe": f"{side} {part} lobe"}
        if name == "side":
            side = "bilateral" if value == "both" else str(value)
            return {"side": side, "Side": _capital(side), "onside": "both sides" if value == "both" else f"the {value}"}
        return {}


def present_and_absent(truth: Truth) -> tuple[list[str], list[str]]:
    """Return what a report must state and what it must not: chest findings by name, trauma by structure and grade.

    In trauma a healthy structure is absent under its own name ("liver"); an injured one is present as "liver_low".
    """
    if truth.anatomy == "chest":
        return [f for f, v in truth.findings.items() if v], [f for f, v in truth.findings.items() if not v]
    present = [f for f, v in truth.findings.items() if v and not f.endswith("_healthy") and f != "any_injury"]
    absent = [f.removesuffix("_healthy") for f, v in truth.findings.items() if v and f.endswith("_healthy")]
    return present, absent


def _counted(count: int) -> dict[str, str]:
    if count == 1:
        return {"solitary": "solitary"}
    word = COUNTS[count] if count < len(COUNTS) else str(count)
    return {"count": word, "Count": _capital(word), "several": word}


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def _phrases(anatomy: Anatomy) -> Mapping[str, Any]:
    path = resources.files("espalier.phantom") / "phrases" / f"{anatomy}.toml"
    return MappingProxyType(tomllib.loads(path.read_text(encoding="utf-8")))


def _preamble(writer: _Writer, labels: Mapping[str, str]) -> list[str]:
    """Return title, indication, technique and comparison, some of them left out, each under its label."""
    lines = [writer.section("title")] if writer.chance(0.5) else []
    if writer.chance(0.8):
        lines.append(f"{labels['indication']}: {writer.section('indication')}")
    if writer.chance(0.7):
        lines.append(f"{labels['technique']}: {writer.section('technique')}")
    if writer.compared:
        lines.append(f"{labels['comparison']}: {writer.section('comparison')}")
    elif writer.chance(0.4):
        lines.append(f"{labels['comparison']}: {writer.section('no_comparison')}")
    return lines


def _prose(writer: _Writer) -> str:
    labels = {"indication": "Clinical information", "technique": "Technique", "comparison": "Comparison"}
    body = " ".join(s.text for s in writer.sentences())
    lines = _preamble(writer, labels)
    lines.append(f"Findings: {body}" if writer.chance(0.7) else body)
    if writer.chance(0.8):
        lines.append(f"Impression: {' '.join(writer.impression())}")
    text = "\n\n".join(lines)
    return text if writer.chance(0.5) else "\n\n".join(textwrap.fill(line, 76) for line in lines)


def _headings(writer: _Writer) -> str:
    labels = {"indication": "INDICATION", "technique": "TECHNIQUE", "comparison": "COMPARISON"}
    lines = [*_preamble(writer, labels), "FINDINGS:"]
    sentences = writer.sentences()
    for region in writer.phrases["regions"]:
        here = [s.text for s in sentences if s.region == region]
        if here:
            lines.append(f"{writer.heading(region)}: {' '.join(here)}")
        elif region in writer.open and writer.chance(0.6):
            lines.append(f"{writer.heading(region)}: {writer.pick(PLAIN_REGION)}")
    return "\n".join([*lines, "IMPRESSION:", *_numbered(writer.impression())])


def _structured(writer: _Writer) -> str:
    labels = {"indication": "Reason for study", "technique": "Procedure", "comparison": "Prior studies"}
    mark = writer.pick(("-", "•", "*"))
    lines = [*_preamble(writer, labels), "", "FINDINGS", *(f"{mark} {s.text}" for s in writer.sentences())]
    if writer.chance(0.75):
        lines += ["", "IMPRESSION", *_numbered(writer.impression())]
    return "\n".join(lines).strip()


def _terse(writer: _Writer) -> str:
    said = [s.text.rstrip(".") for s in writer.sentences()]
    if writer.chance(0.5):
        said = [_small(s) for s in said]
    start = f"Prior: {writer.section('comparison')} " if writer.compared else ""
    end = f"\nIMP: {' '.join(writer.impression())}" if writer.chance(0.4) else ""
    return f"{start}{writer.pick(('. ', '; ')).join(said) or 'Nothing to report'}.{end}"


def _british(writer: _Writer) -> str:
    labels = {"indication": "Clinical details", "technique": "Protocol", "comparison": "Previous imaging"}
    sentences = writer.sentences()
    half = (len(sentences) + 1) // 2
    paragraphs = [" ".join(s.text for s in part) for part in (sentences[:half], sentences[half:]) if part]
    lines = [*_preamble(writer, labels), "Report:", *paragraphs]
    if writer.chance(0.7):
        lines.append(f"{writer.pick(('Conclusion', 'Opinion'))}: {' '.join(writer.impression())}")
    return "\n".join(lines)


def _numbered(texts: Sequence[str]) -> list[str]:
    return [f"{number}. {text}" for number, text in enumerate(texts, start=1)]


def _small(text: str) -> str:
    """Write the first word small unless it is an abbreviation."""
    return text if text[1:2].isupper() or not text[:1].isalpha() else text[:1].lower() + text[1:]


_LAYOUTS: Final[Mapping[str, Callable[[_Writer], str]]] = MappingProxyType(
    {"prose": _prose, "headings": _headings, "structured": _structured, "terse": _terse, "british": _british}
)
