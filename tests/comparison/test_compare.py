import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from espalier.comparison.compare import compare, read_comparison
from espalier.comparison.options import ComparisonOptions
from espalier.comparison.pairs import read_pairs
from espalier.errors import SettingsError
from espalier.evaluation.metrics import auroc
from espalier.outputs import read_json, write_json

ARMS, SEEDS = ("plain", "placebo", "masks"), (0, 1)
OPTIONS = ComparisonOptions(placebo="placebo", resamples=300)
KEYS = ["value", "low", "high", "seeds", "patients"]


@pytest.fixture
def results(study: Path) -> dict[str, Any]:
    compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS)
    return read_comparison(study)


def test_comparison_json_has_the_keys_that_others_read(results: dict[str, Any]) -> None:
    assert set(results["arms"]) == set(ARMS)
    assert set(results["differences"]) == {"placebo", "masks"}
    assert set(results["against_placebo"]) == {"masks"}
    for table in ("arms", "differences", "against_placebo"):
        for own in results[table].values():
            assert list(own["macro"]["auroc"]) == KEYS
            assert set(own["findings"]) == {"lung_nodule", "emphysema", "pleural_effusion", "cardiomegaly"}
            assert all(list(finding["auroc"]) == KEYS for finding in own["findings"].values())
    assert results["cost"]["masks"] == {"seconds_per_step": pytest.approx(0.626), "bytes_per_step": 2**31}


def test_values_are_means_over_seeds_of_means_over_findings(study: Path, results: dict[str, Any]) -> None:
    pairs = read_pairs(study, arms=ARMS, seeds=SEEDS)
    for k, arm in enumerate(ARMS):
        per_seed = [
            np.mean([roc_auc_score(pairs.targets[:, f], pairs.probabilities[k, s, :, f]) for f in range(4)]) for s in (0, 1)
        ]
        assert results["arms"][arm]["macro"]["auroc"]["value"] == pytest.approx(np.mean(per_seed))
        assert results["per_seed"][arm] == pytest.approx(per_seed)
    gain = results["differences"]["masks"]["macro"]["auroc"]
    areas = [results["arms"][arm]["macro"]["auroc"]["value"] for arm in ("masks", "plain")]
    assert gain["value"] == pytest.approx(areas[0] - areas[1])
    assert (gain["seeds"], gain["patients"]) == (2, 60)


def test_intervals_are_those_of_patients_drawn_one_by_one(study: Path, results: dict[str, Any]) -> None:
    """The same bootstrap written out with scans repeated, from resamples of its own."""
    pairs = read_pairs(study, arms=("plain", "masks"), seeds=SEEDS)
    generator = np.random.default_rng(5)
    differences: list[float] = []
    while len(differences) < 400:
        drawn = generator.integers(60, size=60)
        rows = np.concatenate([2 * drawn, 2 * drawn + 1])
        present = pairs.targets[rows, :4] == 1
        if present.any(axis=0).all():
            areas = [[[auroc(present[:, f], one[rows, f]) for f in range(4)] for one in arm] for arm in pairs.probabilities]
            differences.append(np.mean(areas[1]) - np.mean(areas[0]))
    low, high = np.percentile(differences, [2.5, 97.5])
    own = results["differences"]["masks"]["macro"]["auroc"]
    assert (own["low"], own["high"]) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_findings_without_positives_are_left_out_and_rare_ones_marked(results: dict[str, Any]) -> None:
    assert results["left_out"] == {"hiatal_hernia": "no positives"}
    assert results["findings"]["lung_nodule"]["trusted"] is True
    rare = results["findings"]["cardiomegaly"]
    assert rare["positives"] < 20
    assert rare["trusted"] is False


def test_p_values_are_adjusted_for_the_number_of_findings(results: dict[str, Any]) -> None:
    tests = results["tests"]["masks"]["findings"]
    assert all(own["p"] <= own["p_holm"] <= 1 for own in tests.values())
    assert max(own["p_holm"] / own["p"] for own in tests.values()) >= 2
    assert results["tests"]["masks"]["macro"]["p"] < 0.05 < results["tests"]["placebo"]["macro"]["p"]


def test_an_arm_s_interval_does_not_depend_on_who_else_is_compared(study: Path, results: dict[str, Any]) -> None:
    compare(replace(OPTIONS, placebo=None), folder=study, arms=("plain", "masks"), seeds=SEEDS)
    fewer = read_comparison(study)
    assert fewer["differences"]["masks"] == results["differences"]["masks"]
    assert "against_placebo" not in fewer


def test_called_again_it_does_nothing_and_equal_inputs_give_equal_bytes(study: Path) -> None:
    files = [study / "comparison" / name for name in ("comparison.json", "report.html")]
    assert compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS).done == 1
    before = [file.read_bytes() for file in files]
    assert compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS).done == 0
    files[1].unlink()
    assert compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS).done == 1
    assert [file.read_bytes() for file in files] == before


def test_other_predictions_make_it_anew_and_other_costs_do_not(study: Path) -> None:
    compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS)
    cost = study / "runs/masks/seed-0/cost.json"
    write_json(cost, {"seconds_per_step": 1.0, "peak_memory_bytes": 2**30}, kind="cost")
    assert compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS).done == 0
    path = study / "evaluation/masks/seed-0/predictions/test.parquet"
    frame = pl.read_parquet(path).with_columns(probability=1 - pl.col("probability"))
    from espalier.outputs import write_table

    write_table(path, frame, kind="predictions")
    assert compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS).done == 1
    assert read_comparison(study)["per_seed"]["masks"][0] < 0.5


def test_costs_that_were_not_measured_are_left_empty(study: Path) -> None:
    for cost in study.glob("runs/*/*/cost.json"):
        cost.unlink()
    compare(OPTIONS, folder=study, arms=ARMS, seeds=SEEDS)
    assert read_comparison(study)["cost"] == {"plain": {}, "placebo": {}, "masks": {}}


def test_a_baseline_that_is_no_arm_is_refused(study: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[comparison\] baseline: no arm 'control'; expected one of plain"):
        compare(replace(OPTIONS, baseline="control"), folder=study, arms=ARMS, seeds=SEEDS)


def test_a_study_of_one_arm_has_nothing_to_compare_and_still_a_page(study: Path) -> None:
    summary = compare(OPTIONS, folder=study, arms=("masks",), seeds=SEEDS)
    assert summary.words == "nothing to compare"
    assert read_comparison(study)["differences"] == {}
    assert "only arm" in (study / "comparison/report.html").read_text(encoding="utf-8")


def test_the_file_is_stamped_and_holds_no_nan(study: Path, results: dict[str, Any]) -> None:
    text = (study / "comparison/comparison.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert json.loads(text)["espalier"]["kind"] == "comparison"
    assert read_json(study / "comparison/comparison.json", kind="comparison") == results
