"""The page of a comparison: the answer first, then what it rests on."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from espalier.comparison import words
from espalier.comparison.options import ComparisonOptions
from espalier.comparison.pairs import Pairs
from espalier.comparison.runs import loss_curve, settings_of, validation_curve
from espalier.comparison.slices import slices_section
from espalier.evaluation.figures import colours_of, draw_curves, draw_gain
from espalier.evaluation.intervals import Estimate
from espalier.evaluation.predictions import read_metrics
from espalier.labels.findings import TITLES
from espalier.page import figure_svg, page, paragraph, section, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_TRUSTED: Final = "interval not to be trusted"
LOSSES: Final = {"label_loss": "label loss, nats", "mask_loss": "mask loss, nats"}
MEASURES: Final = {
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "f1_weighted": "F1, weighted by support",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Page:
    """What every section draws on."""

    folder: Path
    options: ComparisonOptions
    pairs: Pairs
    results: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, str]]

    @property
    def baseline(self) -> str:
        return str(self.results["baseline"])

    @property
    def others(self) -> list[str]:
        return list(self.results["differences"])


def report(folder: Path, *, options: ComparisonOptions, pairs: Pairs, results: Mapping[str, Any]) -> str:
    """Return the whole page as HTML.

    Parameters
    ----------
    folder
        The study's folder: runs give settings and curves, the store gives slices.
    options
        As the comparison was asked for.
    pairs
        The predictions that were compared.
    results
        The content of `comparison.json`.
    """
    settings = {arm: settings_of(folder, arm, pairs.seeds) for arm in pairs.arms}
    own = _Page(folder=folder, options=options, pairs=pairs, results=results, settings=settings)
    titles = [title(finding) for finding in pairs.findings]
    sections = [
        _first_screen(own),
        _gain_section(own),
        _seeds_section(own),
        _calls_section(own),
        _curves_section(own),
        slices_section(folder, pairs, titles),
        _settings_section(own),
        _compared_section(own),
        _repeat_section(own),
    ]
    return page(words.question(results, settings), *(part for part in sections if part))


def title(finding: str) -> str:
    """Return a finding's name for people."""
    return TITLES.get(finding, finding).replace("_", " ").capitalize()


def _first_screen(own: _Page) -> str:
    told = [paragraph(text, look="answer") for text in words.answers(own.results, own.settings)]
    if own.options.cohort_note:
        told.append(paragraph(f"Note: {own.options.cohort_note}"))
    untrusted = [f for f, counts in own.results["findings"].items() if not counts["trusted"]]
    if untrusted:
        told.append(
            paragraph(
                f"{len(untrusted)} of {len(own.results['findings'])} findings have fewer than 20 positives or negatives "
                "among the test scans; their intervals, and with them part of the mean, are not to be trusted.",
                look="quiet",
            )
        )
    columns = ["Arm", "Macro AUROC (95 %)", f"Against {own.baseline}, points"]
    placebo = own.results["placebo"]
    columns += [f"Against {placebo}, points"] if placebo else []
    rows = [_first_row(own, arm) for arm in own.pairs.arms]
    return "\n".join([*told, table([*columns, "Step, time", "Step, memory"], rows)])


def _first_row(own: _Page, arm: str) -> list[str]:
    macro = own.results["arms"][arm]["macro"].get("auroc")
    difference = own.results["differences"].get(arm, {}).get("macro", {}).get("auroc")
    row = [arm, words.area(macro) if macro else "–", words.points(difference) if difference else "–"]
    if own.results["placebo"]:
        against = own.results["against_placebo"].get(arm, {}).get("macro", {}).get("auroc")
        row.append(words.points(against) if against else "–")
    cost = own.results["cost"].get(arm, {})
    return [*row, words.seconds(cost), words.memory(cost)]


def _gain_section(own: _Page) -> str:
    findings = list(own.results["findings"])
    if not own.others or not findings:
        return ""
    gains = {arm: [_gain(own, arm, finding) for finding in findings] for arm in own.others}
    figure = _figure(7.2, 1.2 + len(findings) * max(0.3, 0.16 * len(gains)))
    draw_gain([title(f) for f in findings], gains, ax=figure.subplots(), colours=colours_of(own.pairs.arms))
    caption = (
        f"AUROC gained against {own.baseline}, in points, with 95 % intervals over patients. Hollow: {NOT_TRUSTED}, since "
        "there are fewer than 20 positives or negatives."
    )
    left_out = "; ".join(f"{title(f)}: {why}" for f, why in own.results["left_out"].items())
    parts = [figure_svg(figure, caption=caption)]
    parts += [_gain_table(own, arm) for arm in own.others]
    parts += [paragraph(f"Left out of every mean: {left_out}.", look="quiet")] if left_out else []
    return section("Gain per finding", *parts)


def _gain(own: _Page, arm: str, finding: str) -> Estimate:
    difference, counts = own.results["differences"][arm]["findings"][finding]["auroc"], own.results["findings"][finding]
    value, low, high = (float(difference[name]) for name in ("value", "low", "high"))
    return Estimate(value, low, high, positives=counts["positives"], negatives=counts["negatives"])


def _gain_table(own: _Page, arm: str) -> str:
    rows = []
    for finding, counts in own.results["findings"].items():
        areas = [words.area(own.results["arms"][one]["findings"][finding]["auroc"]) for one in (own.baseline, arm)]
        difference = words.points(own.results["differences"][arm]["findings"][finding]["auroc"])
        p = own.results["tests"][arm]["findings"][finding]["p_holm"]
        name = title(finding) if counts["trusted"] else f"{title(finding)} ({NOT_TRUSTED})"
        rows.append([name, counts["positives"], counts["negatives"], *areas, difference, f"{p:.3f}"])
    columns = ["Finding", "Positives", "Negatives", own.baseline, arm, "Gain, points", "p, Holm"]
    return table(columns, rows, caption=f"AUROC of {own.baseline} and {arm} for each finding, 95 % intervals in brackets")


def _seeds_section(own: _Page) -> str:
    rows = []
    for s, seed in enumerate(own.pairs.seeds):
        areas = [own.results["per_seed"][arm][s] for arm in own.pairs.arms]
        rows.append([f"seed {seed}", *("–" if area is None else f"{area:.3f}" for area in areas)])
    told = paragraph(
        "The intervals say how much other patients would change the result. How much another training would change it shows "
        "only in the spread between seeds.",
        look="quiet",
    )
    return section("Seed by seed", table(["Macro AUROC", *own.pairs.arms], rows), told)


def _calls_section(own: _Page) -> str:
    rows = []
    for name, shown in MEASURES.items():
        cells = []
        for arm in own.pairs.arms:
            macros = [read_metrics(own.folder, arm, seed)["test"]["macro"] for seed in own.pairs.seeds]
            found = [macro[name] for macro in macros if name in macro]
            cells.append(f"{sum(found) / len(found):.3f}" if found else "–")
        rows.append([shown, *cells])
    told = paragraph(
        "Means over findings and seeds on the test scans. Every finding has its own threshold, chosen on the validation scans "
        "and never on the test scans; where validation lacks positives or negatives it is 0.5.",
        look="quiet",
    )
    return section("Calls at the thresholds", table(["Measure", *own.pairs.arms], rows), told)


def _curves_section(own: _Page) -> str:
    curves = {"Macro AUROC, validation": {arm: _seeds(own, arm, None) for arm in own.pairs.arms}}
    curves |= {shown: {arm: _seeds(own, arm, loss) for arm in own.pairs.arms} for loss, shown in LOSSES.items()}
    drawn = {shown: there for shown, arms in curves.items() if (there := {arm: own for arm, own in arms.items() if own})}
    if not drawn:
        return ""
    figure = _figure(3.6 * len(drawn), 3.0)
    for ax, (shown, arms) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        draw_curves(arms, ax=ax, colours=colours_of(own.pairs.arms), down=shown)
    caption = "Training curves, one line a seed. The validation AUROC is recomputed from the logits that the training wrote."
    return section("Training", figure_svg(figure, caption=caption))


def _seeds(own: _Page, arm: str, loss: str | None) -> list[tuple[list[float], list[float]]]:
    found = (
        loss_curve(own.folder, arm, seed, loss) if loss else validation_curve(own.folder, arm, seed) for seed in own.pairs.seeds
    )
    return [curve for curve in found if curve[0]]


def _settings_section(own: _Page) -> str:
    names = list(dict.fromkeys(name for arm in own.pairs.arms for name in own.settings[arm]))
    if not names:
        return ""
    rows = [[name, *(own.settings[arm].get(name, "–") for arm in own.pairs.arms)] for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    shared = [row[:2] for row in rows if len(set(row[1:])) == 1]
    parts = [table(["What differs", *own.pairs.arms], differing)] if differing else [paragraph("The arms differ in nothing.")]
    parts += (
        [f"<details><summary>What all arms share</summary>{table(['Setting', 'Value'], shared)}</details>"] if shared else []
    )
    return section("Settings", *parts)


def _compared_section(own: _Page) -> str:
    results, pairs = own.results, own.pairs
    seeds = ", ".join(str(seed) for seed in pairs.seeds)
    text = (
        f"{len(pairs.arms)} arms ({', '.join(pairs.arms)}), each trained with the seeds {seeds}, on the same "
        f"{results['scans']} test scans of {results['patients']} patients and {len(results['findings'])} findings. An arm's "
        "macro AUROC is the mean over its seeds of the mean over findings. Differences are paired: each of "
        f"{own.options.resamples} resamples draws patients with replacement, all scans of a patient together and the same "
        "patients for every arm, seed and finding; intervals run from the 2.5th to the 97.5th percentile. p values are "
        "two-sided, from the same resamples, adjusted for the number of findings by Holm's method."
    )
    return section(
        "What was compared", paragraph(text), *([paragraph(own.options.cohort_note)] if own.options.cohort_note else [])
    )


def _repeat_section(own: _Page) -> str:
    commands = "espalier run study.toml        # the whole way, or from predictions alone:\nespalier compare study.toml"
    wanted = f'[comparison]\nbaseline = "{own.baseline}"\nresamples = {own.options.resamples}\nseed = {own.options.seed}'
    wanted += f'\nplacebo = "{own.options.placebo}"' if own.options.placebo else ""
    told = paragraph(
        "The numbers of this page are in comparison.json beside it, and follow from evaluation/ alone.", look="quiet"
    )
    return section("How to repeat it", f"<pre>{html.escape(commands)}</pre><pre>{html.escape(wanted)}</pre>", told)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
