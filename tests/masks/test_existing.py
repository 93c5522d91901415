import json
from pathlib import Path

import numpy as np
import pytest

from espalier.cohort.table import read_cohort
from espalier.cohort.volume import Volume
from espalier.errors import InputError, MissingError, ScanError
from espalier.masks.cohort_rows import cohort_key
from espalier.masks.existing import existing_masks, list_masks, match_masks, overlap, wanted
from espalier.masks.files import Masks, write_masks


def match(study: Path) -> dict[str, tuple[str, ...]]:
    """Return what is found for each scan, by the scan's stem."""
    stems = {row["scan"]: row["stem"] for row in read_cohort(study).to_dicts()}
    found = match_masks(study, cohort_key(study), list_masks(study / "given"))
    return {stems[scan]: names for scan, names in found.items()}


def put(study: Path, masks: Masks, *names: str) -> None:
    for name in names:
        (study / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        write_masks(study / "given" / name, masks)


def test_a_mask_is_found_by_scan_id_path_and_stem_however_deep_it_lies(study: Path, four_structures: Masks) -> None:
    scan = {row["stem"]: row["scan"] for row in read_cohort(study).to_dicts()}
    put(study, four_structures, f"deep/er/{scan['chest1']}.nii.gz", "p2/chest2.nii.gz", "elsewhere/chest3.nii.gz")
    assert match(study) == {
        "chest1": (f"deep/er/{scan['chest1']}.nii.gz",),
        "chest2": ("p2/chest2.nii.gz",),
        "chest3": ("elsewhere/chest3.nii.gz",),
    }


def test_the_path_decides_where_stems_repeat(study: Path, four_structures: Masks) -> None:
    put(study, four_structures, "p1/chest1.nii.gz", "old/chest1.nii.gz")
    assert match(study)["chest1"] == ("p1/chest1.nii.gz",)
    assert match(study)["chest2"] == ()


def test_two_masks_of_one_stem_are_both_named_and_neither_is_read(study: Path, four_structures: Masks) -> None:
    put(study, four_structures, "a/chest1.nii.gz", "b/chest1.nii.gz")
    names = match(study)["chest1"]
    assert len(names) == 2
    with pytest.raises(ScanError, match="2 masks are named after it") as caught:
        existing_masks(study / "given", names, ("lung_left",), scan="s")
    assert caught.value.code == "mask_ambiguous"


def test_a_stem_that_several_scans_share_names_none_of_them(tmp_path: Path, study: Path, four_structures: Masks) -> None:
    from espalier.cohort.ingest import ingest
    from espalier.cohort.options import CohortOptions

    for n in (1, 2):
        (study / "scans" / f"p{n}" / f"chest{n}.nii.gz").rename(study / "scans" / f"p{n}" / "ct.nii.gz")
    ingest(CohortOptions(sources=("scans",)), folder=study)
    put(study, four_structures, "ct.nii.gz")
    assert match(study)["ct"] == ()


def test_a_folder_without_masks_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        list_masks(tmp_path / "given")
    (tmp_path / "given").mkdir()
    with pytest.raises(MissingError, match="no NIfTI file"):
        list_masks(tmp_path / "given")


def test_values_become_the_order_of_the_wanted_structures(four_structures: Masks, tmp_path: Path) -> None:
    masks = wanted(four_structures, ("lung_left", "lung_right"), source=tmp_path)
    np.testing.assert_array_equal(masks.voxels == 1, four_structures.voxels == 7)
    np.testing.assert_array_equal(masks.voxels == 2, four_structures.voxels == 3)
    assert masks.names == {1: "lung_left", 2: "lung_right"}


def test_a_structure_that_the_segmenter_does_not_know_is_a_reason(four_structures: Masks, tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="heart is not among its 3") as caught:
        wanted(four_structures, ("lung_left", "heart"), source=tmp_path)
    assert caught.value.code == "mask_without_structure"


@pytest.mark.parametrize("content", [{"3": "lung_right", "7": "lung_left", "9": "trachea"}, {"lung_right": 3, "lung_left": 7}])
@pytest.mark.parametrize("where", [".", "p1"])
def test_names_come_from_a_labels_file_where_the_mask_has_none(
    tmp_path: Path, four_structures: Masks, content: dict[str, object], where: str
) -> None:
    write_masks(tmp_path / "p1" / "m.nii.gz", Masks(four_structures.voxels, four_structures.affine, {}))
    (tmp_path / where / "labels.json").write_text(json.dumps(content))
    masks = existing_masks(tmp_path, ["p1/m.nii.gz"], ("lung_left",), scan="s")
    np.testing.assert_array_equal(masks.voxels == 1, four_structures.voxels == 7)


def test_a_labels_file_that_is_none_stops_with_its_name(tmp_path: Path, four_structures: Masks) -> None:
    write_masks(tmp_path / "m.nii.gz", Masks(four_structures.voxels, four_structures.affine, {}))
    (tmp_path / "labels.json").write_text('["liver"]')
    with pytest.raises(InputError, match=r"labels\.json"):
        existing_masks(tmp_path, ["m.nii.gz"], ("lung_left",), scan="s")


def test_without_names_values_are_the_order_of_the_settings_and_no_more(tmp_path: Path, four_structures: Masks) -> None:
    write_masks(tmp_path / "m.nii.gz", Masks((four_structures.voxels == 7).astype(np.uint8), four_structures.affine, {}))
    masks = existing_masks(tmp_path, ["m.nii.gz"], ("lung_left",), scan="s")
    assert (masks.voxels == 1).sum() == (four_structures.voxels == 7).sum()
    write_masks(tmp_path / "n.nii.gz", Masks(four_structures.voxels, four_structures.affine, {}))
    with pytest.raises(ScanError, match="values up to 9") as caught:
        existing_masks(tmp_path, ["n.nii.gz"], ("lung_left",), scan="s")
    assert caught.value.code == "mask_values_unnamed"


def test_overlap_is_one_for_a_part_of_the_scan_and_none_for_another_place(four_structures: Masks, chest) -> None:
    assert overlap(four_structures, chest.volume) == pytest.approx(1.0)
    part = Masks(four_structures.voxels[5:20], four_structures.affine @ shift(5, 0, 0), four_structures.names)
    assert overlap(part, chest.volume) == pytest.approx(1.0)
    half = Volume(chest.volume.voxels, chest.volume.affine @ shift(20, 0, 0))
    assert overlap(four_structures, half) == pytest.approx(0.5)
    away = Masks(four_structures.voxels, four_structures.affine @ shift(40, 0, 0), four_structures.names)
    assert overlap(away, chest.volume) == 0


def shift(z: float, y: float, x: float) -> np.ndarray:
    move = np.eye(4)
    move[:3, 3] = (z, y, x)
    return move
