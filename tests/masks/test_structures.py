import pytest

from espalier.labels.findings import FINDINGS
from espalier.masks.structures import STRUCTURES, finding_structures, structure_names, values_of

TOTALSEGMENTATOR = {
    "aorta", "brachiocephalic_trunk", "common_carotid_artery_left", "common_carotid_artery_right", "esophagus", "stomach",
    "subclavian_artery_left", "subclavian_artery_right",
}  # fmt: skip
"""Of its names (task total, version 2) those that findings belong to."""


def test_sets_are_the_papers_and_their_order_is_the_mask_value() -> None:
    assert structure_names("chest")[5] == "heart"
    assert structure_names("abdomen") == ("liver", "spleen", "kidney_left", "kidney_right", "bowel")
    assert structure_names(["spleen", "liver"]) == ("spleen", "liver")


@pytest.mark.parametrize(
    "option", ["thorax", (), ("liver", "liver"), ("",), ("two words",), ("a/b",), [f"s{n}" for n in range(256)]]
)
def test_a_setting_that_means_no_structures_is_refused_by_name(option: object) -> None:
    with pytest.raises(ValueError, match="structures"):
        structure_names(option)  # type: ignore[arg-type]  # wrong on purpose


def test_bowel_is_joined_from_its_parts_and_an_own_name_comes_first() -> None:
    parts = {1: "esophagus", 2: "stomach", 3: "colon", 4: "liver"}
    assert values_of("bowel", parts) == (1, 2, 3)
    assert values_of("bowel", {9: "bowel", 3: "colon"}) == (9,)
    assert values_of("lung_left", {1: "lung_upper_lobe_left", 2: "lung_upper_lobe_right"}) == (1,)
    assert values_of("spleen", parts) == ()


@pytest.mark.parametrize("findings", list(FINDINGS))
def test_every_finding_has_its_place_and_every_place_is_a_structure(findings: str) -> None:
    places = finding_structures(findings)
    assert tuple(places) == FINDINGS[findings]
    known = {*STRUCTURES["chest"], *STRUCTURES["abdomen"], *TOTALSEGMENTATOR}
    assert {name for names in places.values() for name in names} <= known
    assert any(places.values())


def test_one_finding_under_two_names_belongs_to_the_same_structures() -> None:
    ct_rate, rad_chestct = finding_structures("ct-rate"), finding_structures("rad-chestct")
    exact = set(ct_rate) & set(rad_chestct)
    assert len(exact) >= 8
    assert {name: ct_rate[name] for name in exact} == {name: rad_chestct[name] for name in exact}
    assert set(rad_chestct["calcification"]) == {
        *ct_rate["arterial_wall_calcification"],
        *ct_rate["coronary_artery_wall_calcification"],
    }


def test_an_unknown_finding_set_is_refused() -> None:
    with pytest.raises(ValueError, match="known sets are ct-rate, rad-chestct, ratic"):
        finding_structures("groups")
