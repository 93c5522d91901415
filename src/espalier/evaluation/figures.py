"""Figures of an evaluation; each draws on the axes it is given and saves nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from espalier.evaluation.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = ("#2c6e49", "#b5651d", "#33658a", "#7b2d8b", "#8a8a1e", "#a83248")
SPREAD: Final = 0.5
"""Height that the arms of one finding share, in rows."""


def colours_of(arms: Sequence[str]) -> dict[str, str]:
    """Return a colour for each arm, the same in every figure of a page."""
    return {arm: COLOURS[number % len(COLOURS)] for number, arm in enumerate(arms)}


def draw_gain(
    findings: Sequence[str], gains: Mapping[str, Sequence[Estimate]], *, ax: "Axes", colours: Mapping[str, str]
) -> None:
    """Draw the AUROC gained per finding and arm, in points (hundredths), with 95 % intervals.

    Hollow marks: fewer than 20 positives or negatives, so that the interval is not to be trusted.
    """
    rows = list(range(len(findings)))[::-1]
    for number, (arm, own) in enumerate(gains.items()):
        shift = SPREAD * (0.5 - (number + 0.5) / len(gains))
        colour = colours[arm]
        for row, gain in zip(rows, own, strict=True):
            ax.hlines(row + shift, 100 * gain.low, 100 * gain.high, color=colour, linewidth=1.4)
            ax.plot([100 * gain.value], [row + shift], "o", color=colour, markerfacecolor=colour if gain.trusted else "white")
        ax.plot([], [], "o-", color=colour, label=arm)
    ax.axvline(0, color="0.2", linewidth=0.8)
    ax.set_yticks(rows, findings)
    ax.set_ylim(-0.7, len(findings) - 0.3)
    ax.set_xlabel("AUROC gained, points")
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    if len(gains) > 1:
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def draw_curves(
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    *,
    ax: "Axes",
    colours: Mapping[str, str],
    down: str,
) -> None:
    """Draw what changes over epochs: one line a seed, one colour an arm.

    Parameters
    ----------
    curves
        Per arm and seed the epochs, and the values after them.
    ax
        Where to draw.
    colours
        Of each arm.
    down
        What the upright axis says, with its unit.
    """
    from matplotlib.ticker import MaxNLocator

    for arm, seeds in curves.items():
        for seed, (where, values) in enumerate(seeds):
            marker = "o" if len(where) < 2 else ""
            ax.plot(where, values, color=colours[arm], linewidth=1.3, marker=marker, alpha=0.85, label="" if seed else arm)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(down)
    ax.grid(color="0.92", linewidth=0.6)
    ax.legend(frameon=False)
