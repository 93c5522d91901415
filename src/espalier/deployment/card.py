"""The model card: what the network was trained on, how well it does, and what it is not for. No patient's data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LIMITS: Final = (
    "For research. Not a medical device; not for diagnosis, and not to be used alone for any decision about a patient.",
    "Trained on labels taken from reports or from tables made of them: a finding that readers did not report counts as absent.",
    "Scans of other sites, scanners, kernels, contrast phases and ages than those counted above may give other results.",
    "A probability is the network's, not a patient's risk; the share of patients with a finding differs between sites.",
    "Thresholds were chosen on validation scans of the same source; choose them anew on scans of the site that uses them.",
    "Activation maps show what the last layer weighs, not where a finding ends.",
    "Only the centre of a scan is read; what lies outside the crop is not seen.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """What a card is written from.

    Parameters
    ----------
    record
        Content of the bundle's record.
    metrics
        Content of the run's `metrics.json`.
    counts
        Per split the numbers of scans and of patients.
    shared_patients
        Patients with scans in more than one split.
    set_aside
        Scans left out with a reason, over all stages.
    comparison
        Content of `comparison.json`; empty where there is none.
    """

    record: Mapping[str, Any]
    metrics: Mapping[str, Any]
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shared_patients: int = 0
    set_aside: int = 0
    comparison: Mapping[str, Any] = field(default_factory=dict)


def card_text(facts: CardFacts) -> str:
    """Return the card in Markdown; equal facts give equal text."""
    record = facts.record
    parts = [
        f"# Model card: {record['network']}, arm {record['arm']}, seed {record['seed']}",
        f"**Intended use: {record['intended_use']}.** {LIMITS[0]}",
        "## What it is",
        *_what(record),
        "## Data",
        _data(facts),
        "## How well it does on the test scans",
        _quality(facts),
        "## Thresholds",
        _thresholds(record),
        "## Limits",
        "\n".join(f"- {limit}" for limit in LIMITS[1:]),
    ]
    return "\n\n".join(parts) + "\n"


def _what(record: Mapping[str, Any]) -> list[str]:
    store = record["store"]
    structures = ", ".join(record["structures"])
    supervision = f"masks of {structures}; that branch is not part of this bundle" if structures else "labels alone"
    rows = {
        "Findings": ", ".join(record["findings"]),
        "Trained with": supervision,
        "Input": f"{_times(record['crop'])} voxels (z, y, x) of {_times(store['spacing_mm'])} mm, the scan's centre",
        "HU window": f"{store['window_hu'][0]:g} to {store['window_hu'][1]:g}, scaled to -1 to 1",
        "Form": f"ONNX, opset {record['opset']}, float32, outputs logits and maps",
        "Weights": f"SHA-256 {record['run_hash']}",
        "Made with": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    }
    return ["\n".join(f"- {name}: {value}" for name, value in rows.items())]


def _data(facts: CardFacts) -> str:
    rows = ["| split | scans | patients |", "|---|---|---|"]
    rows += [f"| {split} | {scans} | {patients} |" for split, (scans, patients) in facts.counts.items()]
    aside = f"{facts.set_aside} scans were set aside with a reason." if facts.set_aside else "No scan was set aside."
    shared = f"Patients in more than one split: {facts.shared_patients or 'none'}."
    return "\n".join(rows) + f"\n\n{shared} {aside}"


def _quality(facts: CardFacts) -> str:
    test = facts.metrics["test"]
    rows = [
        "| finding | positives | negatives | AUROC | 95 % interval | sensitivity | specificity |",
        "|---|---|---|---|---|---|---|",
    ]
    for finding, own in test["findings"].items():
        cells = [finding, own["positives"], own["negatives"], _number(own["auroc"]), _interval(own.get("auroc_interval"))]
        cells += [_number(own["sensitivity"]), _number(own["specificity"])]
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    macro = test["macro"]
    if macro:
        rows.append(f"| **mean** | | | {_number(macro['auroc'])} | {_interval(macro.get('auroc_interval'))} | | |")
    notes = [f"This run alone, on {test['scans']} scans of {test['patients']} patients; intervals by bootstrap over patients."]
    notes += [f"{finding}: no value, {why}." for finding, why in test["left_out"].items()]
    return "\n".join(rows) + "\n\n" + "\n".join(f"- {note}" for note in [*notes, *_compared(facts)])


def _compared(facts: CardFacts) -> list[str]:
    """Say what the comparison of arms, over all seeds, found for this arm."""
    arm = facts.record["arm"]
    own = facts.comparison.get("arms", {}).get(arm, {}).get("macro", {}).get("auroc")
    gain = facts.comparison.get("differences", {}).get(arm, {}).get("macro", {}).get("auroc")
    said = []
    if own:
        said.append(f"All seeds of arm {arm}: mean AUROC {_estimate(own)}.")
    if gain:
        said.append(f"Arm {arm} minus the baseline: {_estimate(gain)}.")
    return said


def _thresholds(record: Mapping[str, Any]) -> str:
    rows = ["| finding | present from | rule | validation positives | negatives |", "|---|---|---|---|---|"]
    for finding, own in record["thresholds"].items():
        rows.append(f"| {finding} | {_number(own['value'])} | {own['rule']} | {own['positives']} | {own['negatives']} |")
    default = [finding for finding, own in record["thresholds"].items() if own["rule"] == "default"]
    note = f"\n\nNo validation scan decides for {', '.join(default)}: 0.5 is only a placeholder." if default else ""
    return "\n".join(rows) + note


def _estimate(value: Mapping[str, Any]) -> str:
    rests = f", {value['seeds']} seeds, {value['patients']} patients" if "seeds" in value and "patients" in value else ""
    return f"{_number(value['value'])} [{_number(value['low'])}, {_number(value['high'])}]{rests}"


def _interval(bounds: Any) -> str:
    return f"{_number(bounds[0])} to {_number(bounds[1])}" if bounds else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _times(sides: Any) -> str:
    return "×".join(f"{side:g}" for side in sides)
