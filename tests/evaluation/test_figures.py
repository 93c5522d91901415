import numpy as np
from matplotlib.figure import Figure

from espalier.evaluation.figures import colours_of, draw_curves, draw_gain
from espalier.evaluation.intervals import Estimate

COLOURS = colours_of(("plain", "placebo", "masks"))


def test_a_gain_is_drawn_in_points_and_hollow_where_it_is_not_to_be_trusted() -> None:
    ax = Figure().subplots()
    gains = {"masks": [Estimate(0.02, 0.01, 0.03, 50, 50), Estimate(-0.1, -0.3, 0.1, 5, 95)]}
    draw_gain(["Lung nodule", "Emphysema"], gains, ax=ax, colours=COLOURS)
    marks = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose([line.get_xdata()[0] for line in marks], [2.0, -10.0])
    assert [line.get_markerfacecolor() for line in marks] == [COLOURS["masks"], "white"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Lung nodule", "Emphysema"]
    assert marks[0].get_ydata()[0] > marks[1].get_ydata()[0]


def test_an_arm_has_one_colour_whoever_else_is_drawn() -> None:
    ax = Figure().subplots()
    draw_curves({"masks": [([1.0, 2.0], [0.5, 0.6]), ([1.0, 2.0], [0.4, 0.7])]}, ax=ax, colours=COLOURS, down="AUROC")
    assert {line.get_color() for line in ax.lines} == {COLOURS["masks"]}
    assert len(ax.lines) == 2
    assert ax.get_legend() is not None
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["masks"]
