from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.comparison.pairs import read_pairs
from espalier.errors import InputError, MissingError
from espalier.evaluation.predictions import predictions_path
from espalier.outputs import write_table

ARMS, SEEDS = ("plain", "placebo", "masks"), (0, 1)


def change(study: Path, changed: pl.Expr | None = None, *, keep: pl.Expr | None = None, reverse: bool = False) -> None:
    """Write the predictions of arm masks, seed 1, with some of its columns or rows changed."""
    path = predictions_path(study, "masks", 1, "test")
    frame = pl.read_parquet(path)
    frame = frame.with_columns(changed) if changed is not None else frame
    frame = frame.filter(keep) if keep is not None else frame
    write_table(path, frame.reverse() if reverse else frame, kind="predictions")


def test_predictions_of_all_arms_and_seeds_stand_in_one_order(study: Path) -> None:
    before = read_pairs(study, arms=ARMS, seeds=SEEDS)
    change(study, reverse=True)
    after = read_pairs(study, arms=ARMS, seeds=SEEDS)
    assert before.probabilities.shape == (3, 2, 120, 5)
    np.testing.assert_array_equal(before.probabilities, after.probabilities)


def test_differing_scans_are_refused_and_named(study: Path) -> None:
    change(study, pl.col("scan").replace({"test-004": "stranger"}), keep=pl.col("scan") != "test-007")
    with pytest.raises(InputError) as refused:
        read_pairs(study, arms=ARMS, seeds=SEEDS)
    assert refused.value.found == "other scans than the first arm: 1 more (stranger), 2 fewer (test-004, test-007)"
    assert refused.value.source.endswith("masks/seed-1/predictions/test.parquet")


def test_differing_findings_labels_and_patients_are_refused(study: Path) -> None:
    path = predictions_path(study, "masks", 1, "test")
    whole = path.read_bytes()
    for expression, words in (
        (pl.col("finding").replace({"emphysema": "fracture"}), "other findings"),
        ((1 - pl.col("target")).alias("target"), "other targets"),
        (pl.col("weight") * 0, "other targets"),
        (pl.lit("somebody").alias("patient"), "other patients"),
    ):
        path.write_bytes(whole)
        change(study, expression)
        with pytest.raises(InputError, match=words):
            read_pairs(study, arms=ARMS, seeds=SEEDS)


def test_a_missing_row_is_refused(study: Path) -> None:
    change(study, keep=(pl.col("scan") != "test-007") | (pl.col("finding") != "emphysema"))
    with pytest.raises(InputError, match="one row for each scan and finding"):
        read_pairs(study, arms=ARMS, seeds=SEEDS)


def test_an_arm_that_was_not_evaluated_is_named(study: Path) -> None:
    with pytest.raises(MissingError, match="espalier evaluate"):
        read_pairs(study, arms=ARMS, seeds=(0, 1, 2))
