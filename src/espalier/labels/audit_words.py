"""How an audit speaks: as lines of a terminal, as JSON and as a page; none of them names a report or holds text of one."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from espalier.labels.audit_draw import STRATUM_OF
from espalier.labels.audit_score import Score
from espalier.labels.audit_statistics import MEASURES, Estimate
from espalier.labels.findings import TITLES
from espalier.page import page, paragraph, section, table

_NAMES: Final = {"precision": "precision", "recall": "recall", "f1": "F1", "specificity": "specificity"}


def data_of(own: Score) -> dict[str, Any]:
    """Return a score as JSON holds it; it names no report and holds no text of one."""
    told = asdict(own)
    told["macro"] = {name: _with(estimate, findings=n) for name, (estimate, n) in own.macro.items()}
    for finding, one in own.findings.items():
        entry = told["findings"][finding]
        entry |= entry.pop("measures")
        entry["flip_rates"] = {state: _with(estimate, cells=n) for state, (estimate, n) in one.flip_rates.items()}
    return told


def _with(estimate: Estimate | None, **more: int) -> dict[str, Any]:
    return (asdict(estimate) if estimate else {"value": None, "low": None, "high": None}) | more


def said(estimate: Estimate | None) -> str:
    """Return an estimate for people: "0.93 (0.85–0.97)", or a dash."""
    return f"{estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f})" if estimate else "–"


def lines_of(own: Score) -> list[str]:
    """Return a score as lines for a terminal: one per finding, the mean, the readers, and what is not sure."""
    width = max([len(finding) for finding in own.findings] + [7])
    lines = [_line(width, "finding", "cells", [_NAMES[name] for name in MEASURES])]
    for finding, one in own.findings.items():
        lines.append(_line(width, finding, str(one.answered), [said(one.measures[name]) for name in MEASURES]))
    lines.append(_line(width, "mean", str(own.answered), [said(own.macro[name][0]) for name in MEASURES]))
    if own.agreement.cells:
        a = own.agreement
        lines.append(
            f"Readers: {a.agreed} of {a.cells} cells alike, kappa {said(a.kappa)}, weighted {said(a.weighted_kappa)};"
            f" {len(own.disagreements)} cells to talk about."
        )
    return lines + list(own.notes)


def _line(width: int, name: str, cells: str, told: Sequence[str]) -> str:
    return f"{name:<{width}} {cells:>6}  " + "  ".join(f"{one:<17}" for one in told).rstrip()


def page_of(own: Score) -> str:
    """Return a score as a page; it names no report and holds no text of one."""
    rows = [
        [_title(f), o.answered, f"{o.positives:g}", *(said(o.measures[m]) for m in MEASURES)] for f, o in own.findings.items()
    ]
    positives = sum(one.positives for one in own.findings.values())
    rows.append(["Mean", own.answered, f"{positives:g}", *(said(own.macro[name][0]) for name in MEASURES)])
    flips = [[_title(f), *(_rate(o.flip_rates[state]) for state in STRATUM_OF)] for f, o in own.findings.items()]
    f1 = own.macro["f1"][0]
    told = f"F1 {said(f1)} on average over {own.macro['f1'][1]} findings, from {own.answered} cells of {own.reports} reports."
    sections = [
        paragraph(told, look="answer"),
        paragraph("The readers saw what the rules said." if not own.blind else "The readers did not see what the rules said."),
        section("Per finding", table(["Finding", "Cells", "Positives", *(_NAMES[m] for m in MEASURES)], rows)),
        section(
            "How often the finding is there, by what the rules said",
            table(["Finding", *(state.replace("_", " ") for state in STRATUM_OF)], flips, caption="In brackets the cells."),
        ),
    ]
    if own.agreement.cells:
        sections.append(_readers(own))
    if own.notes:
        sections.append(section("What is not sure", *(paragraph(note) for note in own.notes)))
    how = (
        "Each cell counts as many labels as it stands for in its stratum. Intervals of 95 %: bootstrap over reports, for"
        " precision and shares Wilson. They speak for the reports that the audit was drawn from."
    )
    return page(f"Audit {own.number} of the labels", *sections, paragraph(how, look="quiet"))


def _readers(own: Score) -> str:
    each = {"All": own.agreement} | {_title(finding): one.agreement for finding, one in own.findings.items()}
    rows = [[n, a.cells, a.agreed, said(a.kappa), said(a.weighted_kappa)] for n, a in each.items() if a.cells]
    differ = ", ".join(own.disagreements) or "none"
    columns = ["Finding", "Cells", "Alike", "Kappa", "Weighted kappa"]
    return section("The two readers", table(columns, rows), paragraph(f"Cells in which they differ: {differ}."))


def _title(finding: str) -> str:
    return TITLES.get(finding, finding)


def _rate(told: tuple[Estimate | None, int]) -> str:
    return f"{said(told[0])} [{told[1]}]"
