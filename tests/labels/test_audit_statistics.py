"""What an audit proves, held against made-up labels whose truth is known."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.labels.audit_answers import Answer, Answers
from espalier.labels.audit_draw import STRATUM_OF, Drawn, draw, shares
from espalier.labels.audit_score import Score, score
from espalier.labels.audit_statistics import MEASURES, kappas, report_weights, wilson

Truth = dict[tuple[str, str], bool]
FINDINGS = ("often", "seldom", "rare")


def made_up(reports: int = 800, *, seed: int = 5) -> tuple[pl.DataFrame, Truth]:
    """Return what rules that see 92 % of what is there said of three findings, and what is there."""
    random = np.random.default_rng(seed)
    rows, truth = [], {}
    for finding, share in zip(FINDINGS, (0.3, 0.12, 0.08), strict=True):
        there = random.random(reports) < share
        seen = random.random(reports) < np.where(there, 0.92, 0.02)
        hedged, denied = random.random(reports) < 0.15, random.random(reports) < 0.5
        for n in range(reports):
            state = ("uncertain" if hedged[n] else "present") if seen[n] else ("absent" if denied[n] else "not_mentioned")
            rows.append((f"r{n}", finding, state))
            truth[f"r{n}", finding] = bool(there[n])
    return pl.DataFrame(rows, schema=["report", "finding", "state"], orient="row"), truth


def measures_of(states: pl.DataFrame, truth: Truth, finding: str) -> dict[str, float]:
    rows = [(s in {"present", "uncertain"}, truth[r, f]) for r, f, s in states.iter_rows() if f == finding]
    tp, fp = rows.count((True, True)), rows.count((True, False))
    fn, tn = rows.count((False, True)), rows.count((False, False))
    return {
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "specificity": tn / (tn + fp),
    }


def drawn_from(states: pl.DataFrame, *, cells: int = 90, seed: int = 0, uncertain: str = "positive") -> Drawn:
    sizes, own = draw(states, cells=cells, seed=seed, number=1)
    sides = dict.fromkeys(sizes, uncertain)
    return Drawn(number=1, seed=seed, blind=False, labels="", uncertain=sides, sizes=sizes, cells=own)  # type: ignore[arg-type]


def told(drawn: Drawn, truth: Truth) -> dict[str, Answer]:
    return {cell.id: "present" if truth[cell.report, cell.finding] else "absent" for cell in drawn.cells}


def audited(states: pl.DataFrame, truth: Truth, **how: int) -> Score:
    drawn = drawn_from(states, **how)
    return score(drawn, Answers(readers=(told(drawn, truth), {}), agreed={}))


def test_weights_make_the_estimates_right_on_average_where_plain_counting_is_not() -> None:
    states, truth = made_up()
    drawn = [drawn_from(states, seed=seed) for seed in range(60)]
    scores = [score(one, Answers(readers=(told(one, truth), {}), agreed={})) for one in drawn]
    for finding in FINDINGS:
        right = measures_of(states, truth, finding)
        for name in MEASURES:
            mean = np.mean([one.findings[finding].measures[name].value for one in scores])  # type: ignore[union-attr]
            assert mean == pytest.approx(right[name], abs=0.035), (finding, name)
    cells = [
        (c.state in {"present", "uncertain"}, truth[c.report, c.finding])
        for one in drawn
        for c in one.cells
        if c.finding == "rare"
    ]
    plain = cells.count((True, True)) / (cells.count((True, True)) + cells.count((False, True)))
    assert plain > measures_of(states, truth, "rare")["recall"] + 0.03


def test_intervals_hold_the_truth_about_95_times_in_100() -> None:
    states, truth = made_up(seed=9)
    right = {finding: measures_of(states, truth, finding) for finding in FINDINGS}
    scores = [audited(states, truth, seed=seed) for seed in range(60)]
    for name in MEASURES:
        hits, means = [], []
        for one in scores:
            for finding in FINDINGS:
                estimate = one.findings[finding].measures[name]
                assert estimate is not None
                hits.append(estimate.low <= right[finding][name] <= estimate.high)
            mean = one.macro[name][0]
            assert mean is not None
            means.append(mean.low <= np.mean([right[finding][name] for finding in FINDINGS]) <= mean.high)
        assert np.mean(hits) >= 0.9, name
        assert np.mean(means) >= 0.85, name


def test_an_audit_without_an_error_does_not_say_that_there_is_none() -> None:
    states, _ = made_up()
    right = {(r, f): s in {"present", "uncertain"} for r, f, s in states.iter_rows()}
    own = audited(states, right).findings["rare"].measures
    for name in ("recall", "f1", "precision"):
        estimate = own[name]
        assert estimate is not None
        assert estimate.value == estimate.high == 1
        assert 0.2 < estimate.low < 0.95
    assert own["recall"].low < own["precision"].low  # type: ignore[union-attr]


def test_a_mean_over_many_findings_without_an_error_is_surer_than_each_of_them() -> None:
    few, _ = made_up()
    states = pl.concat([few.filter(pl.col("finding") == "rare").with_columns(finding=pl.lit(f"f{n}")) for n in range(8)])
    own = audited(states, {(r, f): s in {"present", "uncertain"} for r, f, s in states.iter_rows()})
    mean = own.macro["recall"][0]
    assert mean is not None
    assert mean.low > 0.8
    assert max(one.measures["recall"].low for one in own.findings.values()) < 0.75  # type: ignore[union-attr]


def test_flip_rates_are_told_for_each_state() -> None:
    states, truth = made_up()
    drawn = drawn_from(states)
    own = score(drawn, Answers(readers=(told(drawn, truth), {}), agreed={})).findings["often"].flip_rates
    for state in STRATUM_OF:
        cells = [truth[c.report, c.finding] for c in drawn.cells if c.finding == "often" and c.state == state]
        estimate, counted = own[state]
        assert counted == len(cells) > 0
        assert estimate is not None
        assert estimate.value == pytest.approx(np.mean(cells))
        assert estimate.low < estimate.value + 1e-12 < estimate.high + 1e-9


def test_uncertain_labels_count_as_the_study_trains_them() -> None:
    states = pl.DataFrame(
        [(f"r{n}", "f", state) for n, state in enumerate(["present"] * 4 + ["uncertain"] * 4 + ["absent"] * 8)],
        schema=["report", "finding", "state"],
        orient="row",
    )
    truth = {(f"r{n}", "f"): n in {0, 1, 2, 3, 4, 5} for n in range(16)}
    found = {}
    for side in ("positive", "negative", "out"):
        drawn = drawn_from(states, uncertain=side)
        found[side] = score(drawn, Answers(readers=(told(drawn, truth), {}), agreed={})).findings["f"].measures
    assert [found[side]["precision"].value for side in found] == [0.75, 1, 1]  # type: ignore[union-attr]
    assert [found[side]["recall"].value for side in found] == pytest.approx([1, 4 / 6, 1])  # type: ignore[union-attr]


def test_readers_who_differ_count_half_each_until_they_agree() -> None:
    states = pl.DataFrame(
        [(f"r{n}", "f", "present") for n in range(4)] + [(f"r{n}", "f", "absent") for n in range(4, 8)],
        schema=["report", "finding", "state"],
        orient="row",
    )
    drawn = drawn_from(states)
    first: dict[str, Answer] = {c.id: "present" if c.state == "present" else "absent" for c in drawn.cells}
    one = next(c.id for c in drawn.cells if c.state == "present")
    second: dict[str, Answer] = first | {one: "absent"}
    torn = score(drawn, Answers(readers=(first, second), agreed={}))
    assert torn.findings["f"].measures["precision"].value == 3.5 / 4  # type: ignore[union-attr]
    assert torn.disagreements == (one,)
    assert any("each answer counts half" in note for note in torn.notes)
    settled = score(drawn, Answers(readers=(first, second), agreed={one: "absent"}))
    assert settled.findings["f"].measures["precision"].value == 3 / 4  # type: ignore[union-attr]
    assert settled.disagreements == (one,)
    assert (settled.agreement.cells, settled.agreement.agreed) == (8, 7)


def test_what_rests_on_missing_answers_is_not_told() -> None:
    states, truth = made_up()
    drawn = drawn_from(states)
    some = {c.id: told(drawn, truth)[c.id] for c in drawn.cells if c.stratum != "negative"}
    own = score(drawn, Answers(readers=(some, {}), agreed={}))
    measures = own.findings["often"].measures
    assert measures["precision"] is not None
    assert measures["recall"] is None
    assert measures["f1"] is None
    assert own.macro["recall"] == (None, 0)
    assert any(note.startswith("often: too few answers for F1") for note in own.notes)


def test_few_positives_are_called_too_few_with_what_they_give() -> None:
    states, truth = made_up()
    notes = audited(states, truth, cells=12).notes
    assert any(note.startswith("rare: too few cells, ") and "positives give F1 ±0." in note for note in notes)


def test_equal_answers_give_equal_numbers() -> None:
    states, truth = made_up(200)
    assert audited(states, truth) == audited(states, truth)


@pytest.mark.parametrize(("accuracy", "cells"), [(0.95, 40), (0.8, 100)])
def test_the_interval_of_kappa_holds_what_many_readings_would_give(accuracy: float, cells: int) -> None:
    random = np.random.default_rng(2)

    def readings(n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = random.choice(3, n, p=[0.55, 0.1, 0.35])
        read = [np.where(random.random(n) < accuracy, truth, random.choice(3, n, p=[0.55, 0.1, 0.35])) for _ in range(2)]
        return read[0], read[1]

    many = kappas(*readings(100_000), np.ones((100_000, 2)), seed=0)
    hits = []
    for seed in range(100):
        own = kappas(*readings(cells), report_weights(cells, seed=seed, draws=300), seed=seed)
        for estimate, right in zip(own, many, strict=True):
            assert estimate is not None
            assert right is not None
            hits.append(estimate.low <= right.value <= estimate.high)
    assert 0.9 <= np.mean(hits) <= 0.995


def test_kappa_is_cohens() -> None:
    from sklearn.metrics import cohen_kappa_score

    random = np.random.default_rng(0)
    first, second = random.integers(0, 3, 50), random.integers(0, 3, 50)
    second[:30] = first[:30]
    plain, weighted = kappas(first, second, report_weights(50, seed=0, draws=50), seed=0)
    assert plain is not None
    assert weighted is not None
    assert plain.value == pytest.approx(cohen_kappa_score(first, second))
    assert weighted.value == pytest.approx(cohen_kappa_score(first, second, weights="linear"))


def test_kappa_of_one_answer_alone_is_not_told() -> None:
    same = np.zeros(10, dtype=int)
    assert kappas(same, same, report_weights(10, seed=0, draws=50), seed=0) == (None, None)


@given(hits=st.integers(0, 200), more=st.integers(0, 200))
def test_wilson_lies_around_its_share(hits: int, more: int) -> None:
    estimate = wilson(hits, hits + more)
    if hits + more == 0:
        assert estimate is None
    else:
        assert estimate is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.high - estimate.low > 0


@given(total=st.integers(3, 200), present=st.integers(0, 300), uncertain=st.integers(0, 300), negative=st.integers(0, 300))
def test_a_finding_gets_as_many_cells_as_asked_for_where_there_are_as_many(
    total: int, present: int, uncertain: int, negative: int
) -> None:
    sizes = {"present": present, "uncertain": uncertain, "negative": negative}
    own = shares(total, sizes)  # type: ignore[arg-type]
    assert sum(own.values()) == min(total, sum(sizes.values()))
    assert all(0 <= own[name] <= size for name, size in sizes.items())  # type: ignore[index]
    assert all(own[name] >= min(total // 3, size) for name, size in sizes.items())  # type: ignore[index]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_a_draw_is_the_same_whatever_the_order_of_the_rows(seed: int) -> None:
    states, _ = made_up(60)
    order = np.random.default_rng(seed).permutation(states.height)
    once = {(c.report, c.finding) for c in drawn_from(states, cells=9).cells}
    again = {(c.report, c.finding) for c in drawn_from(states[order], cells=9).cells}
    assert once == again


def test_each_report_of_a_stratum_is_drawn_equally_often() -> None:
    states, _ = made_up(60)
    own = states.filter((pl.col("finding") == "often") & pl.col("state").is_in(["absent", "not_mentioned"]))
    counts = dict.fromkeys(own["report"], 0)
    for seed in range(400):
        for cell in drawn_from(states, cells=9, seed=seed).cells:
            if cell.finding == "often" and cell.stratum == "negative":
                counts[cell.report] += 1
    expected = sum(counts.values()) / len(counts)
    chi2 = sum((n - expected) ** 2 / expected for n in counts.values())
    assert chi2 < 2 * len(counts)


def test_labels_that_failed_are_not_drawn() -> None:
    states = pl.DataFrame(
        [("a", "f", "failed"), ("b", "f", "present"), ("c", "f", "absent")], schema=["report", "finding", "state"], orient="row"
    )
    drawn = drawn_from(states)
    assert {c.report for c in drawn.cells} == {"b", "c"}
    assert drawn.sizes["f"] == {"present": 1, "uncertain": 0, "negative": 1}


def test_a_finding_that_nobody_saw_is_told_as_such_and_counts_in_no_mean() -> None:
    states = pl.DataFrame(
        [("a", "f", "present"), ("b", "f", "absent"), ("a", "none", "absent"), ("b", "none", "not_mentioned")],
        schema=["report", "finding", "state"],
        orient="row",
    )
    drawn = drawn_from(states)
    answers = {cell.id: "present" if cell.state == "present" else "absent" for cell in drawn.cells}
    own = score(drawn, Answers(readers=(answers, {}), agreed={}))  # type: ignore[arg-type]
    assert own.findings["none"].measures["f1"] is None
    assert own.macro["f1"][1] == 1
    assert "none: neither the rules nor a reader saw it in 2 cells, so there is no F1." in own.notes
