from pathlib import Path

import pytest

from espalier.errors import SettingsError
from espalier.labels.findings import FINDINGS
from espalier.labels.maps import Link, links, losses, mapped

OWN = """
[set]
name = "own"
[finding.spots]
phrases = ["spot*"]
maps = { ct-rate = "%s" }
[finding.emphysema]
phrases = ["emphysema"]
"""


def own(folder: Path, words: str) -> str:
    (folder / "own.toml").write_text(OWN % words, encoding="utf-8")
    return "own.toml"


def rad(**labels: str) -> dict[str, str]:
    return mapped(labels, "ct-rate", "rad-chestct")


def ct_rate(**labels: str) -> dict[str, str]:
    return mapped(labels, "rad-chestct", "ct-rate")


def test_every_finding_of_the_other_set_gets_a_state() -> None:
    assert tuple(rad()) == FINDINGS["rad-chestct"]
    assert set(rad().values()) == {"not_mentioned"}


def test_an_exact_map_carries_every_state_both_ways() -> None:
    for state in ("present", "absent", "uncertain"):
        assert rad(pulmonary_fibrotic_sequela=state)["scarring"] == state
        assert ct_rate(scarring=state)["pulmonary_fibrotic_sequela"] == state


def test_either_calcification_of_the_wall_is_a_calcification() -> None:
    one = {"arterial_wall_calcification": "absent", "coronary_artery_wall_calcification": "present"}
    assert rad(**one)["calcification"] == "present"
    assert rad(**dict.fromkeys(one, "absent"))["calcification"] == "not_mentioned"


def test_a_broader_finding_that_is_there_leaves_the_narrower_one_uncertain() -> None:
    there = ct_rate(calcification="present")
    assert there["arterial_wall_calcification"] == there["coronary_artery_wall_calcification"] == "uncertain"
    gone = ct_rate(calcification="absent")
    assert gone["arterial_wall_calcification"] == gone["coronary_artery_wall_calcification"] == "absent"
    assert rad(medical_material="present")["catheter_or_port"] == "uncertain"
    assert ct_rate(hernia="present")["hiatal_hernia"] == "uncertain"


def test_a_loose_map_takes_all_of_them_for_equal_as_published_scores_do() -> None:
    labels = {"arterial_wall_calcification": "absent", "coronary_artery_wall_calcification": "absent"}
    assert mapped(labels, "ct-rate", "rad-chestct", loose=True)["calcification"] == "absent"
    loose = mapped({"medical_material": "present"}, "ct-rate", "rad-chestct", loose=True)
    assert loose["catheter_or_port"] == "present"


def test_a_failed_report_tells_nothing() -> None:
    assert rad(emphysema="failed")["emphysema"] == "not_mentioned"


def test_what_a_map_loses_is_said() -> None:
    lost = losses("ct-rate", "rad-chestct")
    assert lost["mosaic_attenuation_pattern"] == "has nothing like it in rad-chestct"
    assert lost["coronary_artery_wall_calcification"] == "narrower than calcification of rad-chestct"
    assert set(lost) == {
        "medical_material",
        "arterial_wall_calcification",
        "coronary_artery_wall_calcification",
        "hiatal_hernia",
        "mosaic_attenuation_pattern",
    }
    assert losses("rad-chestct", "ct-rate")["mosaic_attenuation_pattern"] == "rad-chestct has nothing like it"


def test_sets_of_chest_and_of_trauma_share_nothing() -> None:
    assert links("ct-rate", "ratic") == ()


def test_a_german_lexicon_has_the_same_findings() -> None:
    assert losses("ct-rate-de", "ct-rate") == {}


def test_a_lexicon_of_ones_own_maps_to_a_shipped_set(tmp_path: Path) -> None:
    name = own(tmp_path, "narrower:lung_nodule")
    assert Link("spots", "narrower", "lung_nodule") in links(name, "ct-rate", folder=tmp_path)
    assert mapped({"spots": "present", "emphysema": "absent"}, name, "ct-rate", folder=tmp_path)["emphysema"] == "absent"


@pytest.mark.parametrize("words", ["same:lung_nodule", "exact:lung_nodul", "lung_nodule"])
def test_a_map_that_leads_nowhere_is_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(SettingsError, match="exact, narrower or broader"):
        links(own(tmp_path, words), "ct-rate", folder=tmp_path)
