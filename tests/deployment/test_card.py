"""The model card gives numbers and limits, and no patient."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from espalier.deployment.bundle import Bundle
from espalier.deployment.card import CardFacts, card_text
from espalier.outputs import read_json


@pytest.fixture
def facts(study: Path) -> CardFacts:
    record = read_json(study / "bundle" / "bundle.json", kind="bundle")
    metrics = read_json(study / "evaluation" / "masks" / "seed-0" / "metrics.json", kind="metrics")
    return CardFacts(record=record, metrics=metrics, counts={"train": (7, 4)}, set_aside=2)


def test_the_card_in_a_bundle_counts_scans_and_patients_of_each_split(bundle: Bundle) -> None:
    card = (bundle.folder / "card.md").read_text(encoding="utf-8")
    assert "| train | 7 | 4 |" in card
    assert "| validation | 2 | 2 |" in card
    assert "| test | 3 | 2 |" in card
    assert "Patients in more than one split: 2." in card


def test_the_card_holds_no_patient_or_scan(bundle: Bundle) -> None:
    card = (bundle.folder / "card.md").read_text(encoding="utf-8")
    assert "secret-patient" not in card
    assert f"{3:016x}" not in card


def test_the_card_gives_each_auroc_with_its_interval_and_says_why_one_is_missing(facts: CardFacts) -> None:
    card = card_text(facts)
    assert "| emphysema | 12 | 28 | 0.812 | 0.710 to 0.890 | 0.750 | 0.688 |" in card
    assert "lung_nodule: no value, no positives." in card
    assert "| emphysema | 0.400 | youden | 9 | 21 |" in card
    assert "No validation scan decides for lung_nodule" in card


def test_the_card_says_use_limits_input_and_what_was_set_aside(facts: CardFacts) -> None:
    card = card_text(facts)
    assert "Intended use: research" in card
    assert "Not a medical device" in card
    assert "16×24×24 voxels (z, y, x) of 6×3×3 mm" in card
    assert "Patients in more than one split: none. 2 scans were set aside" in card
    assert "masks of lung_left, lung_right; that branch is not part of this bundle" in card


def test_the_card_of_a_run_without_masks_says_labels_alone(facts: CardFacts) -> None:
    assert "labels alone" in card_text(replace(facts, record={**facts.record, "structures": []}))


def test_the_card_tells_the_gain_over_the_baseline_where_arms_were_compared(facts: CardFacts) -> None:
    estimate: dict[str, Any] = {"value": 0.031, "low": 0.012, "high": 0.05, "seeds": 3, "patients": 38}
    comparison = {
        "arms": {"masks": {"macro": {"auroc": estimate | {"value": 0.82}}}},
        "differences": {"masks": {"macro": {"auroc": estimate}}},
    }
    card = card_text(replace(facts, comparison=comparison))
    assert "Arm masks minus the baseline: 0.031 [0.012, 0.050], 3 seeds, 38 patients." in card
    assert "All seeds of arm masks: mean AUROC 0.820" in card
    assert "baseline" not in card_text(facts)
