from espalier.labels.findings import FINDINGS, TITLES, finding_id


def test_the_sets_have_the_published_sizes_and_order() -> None:
    assert [len(FINDINGS[name]) for name in ("ct-rate", "rad-chestct", "ratic")] == [18, 16, 14]
    assert FINDINGS["ct-rate"][0] == "medical_material"
    assert FINDINGS["ratic"][-1] == "any_injury"


def test_an_id_is_the_published_name_in_snake_case() -> None:
    assert finding_id("Coronary artery wall calcification") == "coronary_artery_wall_calcification"
    assert TITLES["lung_nodule"] == "Lung nodule"
