"""Draw demo.svg, the README's picture, from benchmarks/demo.json: python docs/figures/demo.py."""

import json
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from espalier.evaluation.figures import colours_of, draw_gain
from espalier.evaluation.intervals import Estimate

HERE = Path(__file__).parent


def main() -> None:
    """Read the rows per finding and draw them as the comparison page does."""
    rows = json.loads((HERE.parents[1] / "benchmarks" / "demo.json").read_text(encoding="utf-8"))["rows"]
    known = {row["what"]: row["ours"] for row in rows}
    findings = [what.split(", ")[1] for what in known if what.startswith("masks minus plain, ")]
    gains = {arm: [_estimate(known[f"{arm} minus plain, {f}"]) for f in findings] for arm in ("placebo", "masks")}
    with rc_context({"svg.hashsalt": "espalier", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 5), layout="constrained", facecolor="white")
        ax = figure.subplots()
        draw_gain([f.replace("_", " ") for f in findings], gains, ax=ax, colours=colours_of(("plain", "placebo", "masks")))
        ax.set_xlabel("AUROC gained over plain, points, with 95 % intervals (made-up patients)")
        figure.savefig(HERE / "demo.svg", metadata={"Date": None})


def _estimate(value: dict[str, float]) -> Estimate:
    return Estimate(value["value"], value["low"], value["high"], positives=99, negatives=99)


if __name__ == "__main__":
    main()
