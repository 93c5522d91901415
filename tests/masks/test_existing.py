import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_scan
from espalier.cohort.table import read_cohort
from espalier.errors import InputError, MissingError, ScanError
from espalier.masks.cohort_rows import cohort_key
from espalier.masks.existing import existing_masks, wanted
from espalier.masks.files import Masks, read_masks, write_masks
from espalier.masks.find import find_masks
from espalier.masks.given import Given
from espalier.masks.label_lists import names_in_list

BOTH = ("lung_left", "lung_right")
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def match(study: Path, structures: tuple[str, ...] = BOTH) -> dict[str, tuple[str, ...]]:
    """Return what is found for each scan, by the scan's file."""
    sources = {row["scan"]: Path(row["source"]).name.removesuffix(".nii.gz") for row in read_cohort(study).to_dicts()}
    found = find_masks(study / "given", structures, folder=study, cohort=cohort_key(study))
    return {sources[scan]: names for scan, names in found.names.items()}


def read(study: Path, stem: str = "chest1", structures: tuple[str, ...] = BOTH) -> Given:
    row = next(row for row in read_cohort(study).to_dicts() if Path(row["source"]).name == f"{stem}.nii.gz")
    names = match(study, structures)[stem]
    volume = read_scan(row, folder=study)
    return existing_masks(volume, structures, root=study / "given", names=names, row=row, folder=study)


def refused(study: Path, stem: str = "chest1", structures: tuple[str, ...] = BOTH) -> ScanError:
    with pytest.raises(ScanError) as caught:
        read(study, stem, structures)
    return caught.value


def put(study: Path, masks: Masks, *names: str) -> None:
    for name in names:
        (study / "given" / name).parent.mkdir(parents=True, exist_ok=True)
        write_masks(study / "given" / name, masks)


def nameless(masks: Masks) -> Masks:
    return Masks(masks.voxels, masks.affine, {})


def put_structures(study: Path, masks: Masks, folder: str, *, ending: str = ".nii.gz") -> None:
    for value, name in masks.names.items():
        put(study, Masks((masks.voxels == value).astype(np.uint8), masks.affine, {}), f"{folder}/{name}{ending}")


def is_chest(given: Given, chest) -> None:
    np.testing.assert_array_equal(given.masks.voxels == 1, chest.left)
    np.testing.assert_array_equal(given.masks.voxels == 2, chest.right)


# Whose they are


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
    assert refused(study, "chest2").code == "mask_missing"


def test_two_masks_of_one_stem_that_hold_the_same_are_named_and_neither_is_read(study: Path, four_structures: Masks) -> None:
    put(study, four_structures, "a/chest1.nii.gz", "b/chest1.nii.gz")
    error = refused(study)
    assert error.code == "mask_ambiguous"
    assert "2 masks" in error.found


def test_two_masks_of_one_stem_that_hold_different_structures_join(study: Path, four_structures: Masks, chest) -> None:
    put(study, Masks(four_structures.voxels, four_structures.affine, {7: "lung_left", 3: "x"}), "a/chest1.nii.gz")
    put(study, Masks(four_structures.voxels, four_structures.affine, {3: "lung_right", 7: "y"}), "b/chest1.nii.gz")
    is_chest(read(study), chest)
    finer = Masks(four_structures.voxels[::2], four_structures.affine @ np.diag([2.0, 1, 1, 1]), {3: "lung_right"})
    put(study, finer, "b/chest1.nii.gz")
    assert refused(study).code == "mask_grids_differ"


def test_a_stem_and_a_path_end_that_several_scans_share_name_none_of_them(study: Path, four_structures: Masks) -> None:
    for n in (1, 2):
        (study / "scans" / f"p{n}" / f"chest{n}.nii.gz").rename(study / "scans" / f"p{n}" / "ct.nii.gz")
    (study / "scans" / "old" / "p1").mkdir(parents=True)
    (study / "scans" / "p3" / "chest3.nii.gz").rename(study / "scans" / "old" / "p1" / "ct.nii.gz")
    ingest(CohortOptions(sources=("scans",)), folder=study)
    put(study, four_structures, "ct.nii.gz", "p1/ct.nii.gz", "p2/ct.nii.gz")
    found = find_masks(study / "given", BOTH, folder=study, cohort=cohort_key(study))
    sources = {row["scan"]: row["source"] for row in read_cohort(study).to_dicts()}
    assert {sources[scan]: names for scan, names in found.names.items()} == {
        "scans/p1/ct.nii.gz": (),
        "scans/p2/ct.nii.gz": ("p2/ct.nii.gz",),
        "scans/old/p1/ct.nii.gz": (),
    }


def test_a_study_under_pseudonyms_finds_its_masks_by_the_names_of_its_files(study: Path, four_structures: Masks, chest) -> None:
    for name in ("cohort.parquet", "series.parquet"):
        (study / name).unlink()
    ingest(CohortOptions(sources=("scans",), pseudonyms="key"), folder=study)
    assert "chest1" not in read_cohort(study)["stem"].to_list()
    put(study, four_structures, "deep/chest1.nii.gz")
    is_chest(read(study), chest)


def test_scans_that_lie_beside_their_masks_are_no_masks(study: Path, four_structures: Masks) -> None:
    (study / "given").symlink_to(study / "scans", target_is_directory=True)
    with pytest.raises(MissingError, match="no mask in it"):
        match(study)
    put_structures(study, four_structures, "p1/segmentations")
    assert match(study) == {"chest1": ("p1/segmentations/",), "chest2": (), "chest3": ()}


def test_a_folder_without_masks_is_told_at_once(study: Path) -> None:
    with pytest.raises(MissingError, match="no such folder"):
        match(study)
    (study / "given").mkdir()
    (study / "given" / "._chest1.nii.gz").write_bytes(b"x")
    with pytest.raises(MissingError, match="no mask in it"):
        match(study)


# One file for each structure


@pytest.mark.parametrize("folder", ["chest1", "p1/chest1", "p1", "chest1/segmentations", "out/p1/chest1/masks"])
def test_a_folder_of_structures_is_found_by_the_scan_or_the_folder_it_lies_in(
    study: Path, four_structures: Masks, chest, folder: str
) -> None:
    put_structures(study, four_structures, folder)
    given = read(study)
    is_chest(given, chest)
    assert given.notes == ()
    assert match(study)["chest2"] == ()


def test_a_folder_in_which_two_scans_lie_names_neither(study: Path, four_structures: Masks) -> None:
    (study / "scans" / "p2" / "chest2.nii.gz").rename(study / "scans" / "p1" / "chest2.nii.gz")
    ingest(CohortOptions(sources=("scans",), series="all"), folder=study)
    put_structures(study, four_structures, "p1")
    assert match(study) == {"chest1": (), "chest2": (), "chest3": ()}


def test_a_file_of_a_plain_name_in_the_scans_folder_is_its_mask(study: Path, four_structures: Masks, chest) -> None:
    put(study, four_structures, "p1/segmentation.nii.gz", "p2/of_another_scan.nii.gz")
    is_chest(read(study), chest)
    assert match(study)["chest2"] == ()


def test_only_the_wanted_structures_of_a_folder_are_read_and_hashed(study: Path, four_structures: Masks) -> None:
    put_structures(study, four_structures, "chest1")
    (study / "given" / "chest1" / "aorta.nii.gz").write_bytes(b"broken")
    before = find_masks(study / "given", BOTH, folder=study, cohort=cohort_key(study)).keys
    assert read(study).masks.voxels.any()
    (study / "given" / "chest1" / "aorta.nii.gz").write_bytes(b"broken otherwise")
    assert find_masks(study / "given", BOTH, folder=study, cohort=cohort_key(study)).keys == before
    put(study, nameless(four_structures), "chest1/lung_left.nii.gz")
    assert find_masks(study / "given", BOTH, folder=study, cohort=cohort_key(study)).keys != before


def test_parts_in_files_of_their_own_make_a_structure(study: Path, chest, four_structures: Masks) -> None:
    upper = chest.left.copy()
    upper[20:] = False
    for name, mask in (
        ("lung_upper_lobe_left", upper),
        ("lung_lower_lobe_left", chest.left & ~upper),
        ("lung_right", chest.right),
    ):
        put(study, Masks(mask.astype(np.uint8), four_structures.affine, {}), f"chest1/{name}.nii.gz")
    is_chest(read(study), chest)


def test_files_of_structures_that_overlap_are_noted_and_the_first_wanted_one_wins(
    study: Path, chest, four_structures: Masks
) -> None:
    both = Masks((chest.left | chest.right).astype(np.uint8), four_structures.affine, {})
    put(study, both, "chest1/lung_right.nii.gz")
    put(study, Masks(chest.left.astype(np.uint8), four_structures.affine, {}), "chest1/lung_left.nii.gz")
    given = read(study)
    is_chest(given, chest)
    assert given.notes == ("mask_overlap",)


def test_files_of_one_scan_on_two_grids_are_a_reason(study: Path, four_structures: Masks) -> None:
    put_structures(study, four_structures, "chest1")
    put(study, Masks(four_structures.voxels[:-1], four_structures.affine, {}), "chest1/lung_right.nii.gz")
    assert refused(study).code == "mask_grids_differ"
    moved_by_2_mm = four_structures.affine.copy()
    moved_by_2_mm[0, 3] += 2
    put(study, Masks(four_structures.voxels, moved_by_2_mm, {}), "chest1/lung_right.nii.gz")
    assert refused(study).code == "mask_grids_differ"


def test_a_broken_file_of_a_structure_is_a_reason(study: Path, four_structures: Masks) -> None:
    put_structures(study, four_structures, "chest1")
    (study / "given" / "chest1" / "lung_right.nii.gz").write_bytes(b"\x1f\x8b broken")
    assert refused(study).code == "mask_unreadable"


# What the values mean


def test_values_become_the_order_of_the_wanted_structures(four_structures: Masks, tmp_path: Path) -> None:
    masks = wanted(four_structures, BOTH, source=tmp_path)
    np.testing.assert_array_equal(masks.voxels == 1, four_structures.voxels == 7)
    np.testing.assert_array_equal(masks.voxels == 2, four_structures.voxels == 3)
    assert masks.names == {1: "lung_left", 2: "lung_right"}


@pytest.mark.parametrize(
    "names", [("Lung Left", "LUNG-RIGHT"), ("Left lung", "right_lung"), ("Lung_L", "LungR"), ("lt lung", "rt. lung")]
)
def test_names_count_without_capitals_marks_and_order(four_structures: Masks, tmp_path: Path, names: tuple[str, str]) -> None:
    masks = wanted(Masks(four_structures.voxels, four_structures.affine, {7: names[0], 3: names[1]}), BOTH, source=tmp_path)
    np.testing.assert_array_equal(masks.voxels == 1, four_structures.voxels == 7)
    np.testing.assert_array_equal(masks.voxels == 2, four_structures.voxels == 3)


def test_a_structure_that_the_segmenter_does_not_know_is_a_reason_with_what_looks_like_it(
    four_structures: Masks, tmp_path: Path
) -> None:
    with pytest.raises(ScanError, match=r"heart is not among its 3 structures") as caught:
        wanted(four_structures, ("lung_left", "heart"), source=tmp_path)
    assert caught.value.code == "mask_without_structure"
    with pytest.raises(ScanError, match=r"did you mean lung_left, lung_right\?"):
        wanted(four_structures, ("lungs_left",), source=tmp_path)


CONTENTS = [
    ("labels.json", {"3": "lung_right", "7": "lung_left", "9": "trachea"}),
    ("labels.json", {"lung_right": 3, "lung_left": 7}),
    ("dataset.json", {"labels": {"background": 0, "Lung Right": 3, "Lung Left": 7, "both": [3, 7]}, "file_ending": ".nii.gz"}),
    ("dataset.json", {"labels": {"0": "background", "3": "lung_right", "7": "lung_left"}, "numTraining": 1}),
]


@pytest.mark.parametrize(("name", "content"), CONTENTS)
@pytest.mark.parametrize("where", [".", "p1"])
def test_names_come_from_a_list_beside_or_above_where_the_mask_has_none(
    study: Path, four_structures: Masks, chest, name: str, content: dict[str, object], where: str
) -> None:
    put(study, nameless(four_structures), "p1/chest1.nii.gz")
    (study / "given" / where / name).write_text(json.dumps(content))
    is_chest(read(study), chest)


@pytest.mark.parametrize("content", ['["liver"]', '{"1": 2.5}', '{"300": "liver"}', "{", "[" * 10**5, '{"1": "a", "b": 1}'])
def test_a_list_of_names_that_is_none_stops_with_its_name(study: Path, four_structures: Masks, content: str) -> None:
    put(study, nameless(four_structures), "chest1.nii.gz")
    (study / "given" / "labels.json").write_text(content)
    with pytest.raises(InputError, match=r"labels\.json"):
        read(study)


def test_another_list_of_names_makes_all_masks_anew(study: Path, four_structures: Masks) -> None:
    put(study, nameless(four_structures), "chest1.nii.gz")
    keys = []
    for content in ({"7": "lung_left"}, {"7": "lung_right"}):
        (study / "given" / "labels.json").write_text(json.dumps(content))
        keys.append(find_masks(study / "given", BOTH, folder=study, cohort=cohort_key(study)).keys)
    assert all(keys[0][scan] != keys[1][scan] for scan in keys[0])


def test_without_names_values_are_the_order_of_the_settings_and_no_more(study: Path, four_structures: Masks, chest) -> None:
    put(study, Masks((four_structures.voxels == 7).astype(np.uint8), four_structures.affine, {}), "chest1.nii.gz")
    np.testing.assert_array_equal(read(study, structures=("lung_left",)).masks.voxels == 1, chest.left)
    put(study, nameless(four_structures), "chest1.nii.gz")
    error = refused(study)
    assert error.code == "mask_values_unnamed"
    assert "values up to 9" in error.found


def test_masks_of_ct_rate_have_the_names_of_its_task(study: Path, chest, four_structures: Masks) -> None:
    for n, name in enumerate(("train_1_a_1", "train_1_a_2", "valid_2_a_1"), start=1):
        (study / "scans" / f"p{n}" / f"chest{n}.nii.gz").rename(study / "scans" / f"{name}.nii.gz")
    ingest(CohortOptions(sources=("scans",), layout="ct-rate", series="all"), folder=study)
    total = {name: value for value, name in names_in_list("ts_total").items()}
    assert (total["lung_upper_lobe_left"], total["heart"], total["costal_cartilages"]) == (10, 51, 117)
    voxels = np.where(chest.left, 10, np.where(chest.right, 12, 0)).astype(np.uint8)
    put(study, Masks(voxels, four_structures.affine, {}), "ts_total/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz")
    nodules = Masks(chest.trachea.astype(np.uint8) * 2, four_structures.affine, {})
    put(study, nodules, "ts_lung_nodules/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz")
    put(
        study,
        Masks(voxels, four_structures.affine, {}),
        "dataset_ts_seg_ts_total_train_fixed_train_1_train_1_a_train_1_a_2.nii.gz",
    )
    given = read(study, "train_1_a_1", (*BOTH, "lung_nodules"))
    is_chest(given, chest)
    np.testing.assert_array_equal(given.masks.voxels == 3, chest.trachea)
    assert given.notes == ("mask_names_from_list",)
    is_chest(read(study, "train_1_a_2"), chest)
    assert match(study)["valid_2_a_1"] == ()


RATIC = ("liver", "spleen", "kidney_left", "kidney_right", "bowel")


@pytest.mark.parametrize("swapped", [False, True])
def test_kidneys_of_ratic_are_told_apart_by_their_places(study: Path, chest, four_structures: Masks, swapped: bool) -> None:
    (study / "scans" / "p1" / "chest1.nii.gz").rename(study / "scans" / "p1" / "21057.nii.gz")
    ingest(CohortOptions(sources=("scans",)), folder=study)
    voxels = np.zeros_like(four_structures.voxels)
    voxels[10:14][:, chest.right[12]] = 1
    voxels[10:14][:, chest.left[12]] = 2
    voxels[20:24][:, chest.left[22]] = 4 if swapped else 3
    voxels[20:24][:, chest.right[22]] = 3 if swapped else 4
    voxels[0, 0, 0] = 9
    put(study, Masks(voxels, four_structures.affine, {}), "segmentations/21057.nii.gz")
    given = read(study, "21057", RATIC)
    x = [np.argwhere(given.masks.voxels == n)[:, 2].mean() for n in (3, 4)]
    assert x[0] > x[1]
    assert given.notes == (("mask_names_from_list", "mask_sides_by_place") if swapped else ("mask_names_from_list",))
    put(study, Masks(voxels[..., ::-1], four_structures.affine, {}), "segmentations/21057.nii.gz")
    assert refused(study, "21057", RATIC).code == "mask_mirrored"


# Where they lie


def test_a_mask_on_another_grid_stays_as_it_is_and_is_noted(study: Path, four_structures: Masks) -> None:
    affine = four_structures.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    put(study, Masks(four_structures.voxels[::2, ::2, ::2], affine, four_structures.names), "chest1.nii.gz")
    given = read(study)
    assert given.notes == ("mask_other_grid",)
    assert given.masks.voxels.shape == (20, 30, 40)
    np.testing.assert_allclose(given.masks.affine, affine)


@pytest.mark.parametrize(("axes", "flips"), [((0, 1, 2), (2,)), ((2, 1, 0), (0, 1)), ((1, 2, 0), ())])
def test_a_mask_whose_axes_are_numbered_otherwise_is_on_the_same_grid(
    study: Path, four_structures: Masks, axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    voxels, affine = four_structures.voxels, four_structures.affine.copy()
    for axis in flips:
        voxels = np.flip(voxels, axis)
        affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    affine[:3, :3] = affine[:3, list(axes)]
    put(study, Masks(np.ascontiguousarray(voxels.transpose(axes)), affine, four_structures.names), "chest1.nii.gz")
    assert read(study).notes == ()


def flipped_in_space(affine: np.ndarray) -> np.ndarray:
    return RAS @ affine


def moved(affine: np.ndarray) -> np.ndarray:
    out = affine.copy()
    out[2, 3] += 1000
    return out


def lost(affine: np.ndarray) -> np.ndarray:
    return np.eye(4)[[2, 1, 0, 3]]


@pytest.mark.parametrize(
    ("place", "code"), [(flipped_in_space, "mask_mirrored"), (moved, "mask_elsewhere"), (lost, "mask_position")]
)
def test_a_mask_that_cannot_belong_to_the_scan_is_a_reason(
    study: Path, four_structures: Masks, place: Callable[[np.ndarray], np.ndarray], code: str
) -> None:
    put(study, Masks(four_structures.voxels, place(four_structures.affine), four_structures.names), "chest1.nii.gz")
    assert refused(study).code == code


def test_a_mask_whose_box_meets_the_scan_but_whose_structures_do_not_is_elsewhere(study: Path, four_structures: Masks) -> None:
    voxels = np.zeros((80, 60, 80), np.uint8)
    voxels[50:60, 20:30, 20:30] = 7
    voxels[50:60, 20:30, 40:50] = 3
    put(study, Masks(voxels, four_structures.affine, four_structures.names), "chest1.nii.gz")
    assert refused(study).code == "mask_elsewhere"


# Other files


def nrrd(path: Path, masks: Masks, *, names: bool = True, space: str = "left-posterior-superior") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y, z = (masks.affine[:3, axis] for axis in (2, 1, 0))
    vectors = " ".join(f"({','.join(str(v) for v in one)})" for one in (x, y, z))
    told = [f"Segment{n}_LabelValue:={value}\nSegment{n}_Name:={name}" for n, (value, name) in enumerate(masks.names.items())]
    sizes = " ".join(str(n) for n in masks.voxels.shape[::-1])
    origin = ",".join(str(v) for v in masks.affine[:3, 3])
    lines = ["NRRD0004", "type: uint8", "dimension: 3", f"space: {space}", f"sizes: {sizes}", f"space directions: {vectors}"]
    lines += ["kinds: domain domain domain", "encoding: raw", f"space origin: ({origin})", *(told if names else [])]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + masks.voxels.tobytes())


def test_a_segmentation_of_3d_slicer_brings_its_names(study: Path, four_structures: Masks, chest) -> None:
    nrrd(study / "given" / "chest1.seg.nrrd", four_structures)
    given = read(study)
    is_chest(given, chest)
    assert given.notes == ()


def test_an_nrrd_without_names_or_place_is_a_reason(study: Path, four_structures: Masks) -> None:
    nrrd(study / "given" / "chest1.nrrd", four_structures, names=False)
    assert refused(study).code == "mask_values_unnamed"
    nrrd(study / "given" / "chest1.nrrd", four_structures, space="scanner-xyz")
    assert refused(study).code == "mask_position"
    (study / "given" / "chest1.nrrd").write_bytes(b"NRRD0004\n")
    assert refused(study).code == "mask_unreadable"


def test_a_header_that_claims_more_than_its_file_can_hold_is_refused_before_memory_is_taken(study: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((32000, 32000, 32000))
    header.set_data_dtype(np.uint8)
    header["sform_code"], header["vox_offset"], header["magic"] = 1, 352, b"n+1"
    (study / "given").mkdir()
    (study / "given" / "chest1.nii").write_bytes(header.binaryblock + b"\0" * 100)
    assert refused(study).code == "mask_unreadable"


@pytest.mark.real
def test_files_of_totalsegmentator_lie_on_their_scans(tmp_path: Path, real_data: Path) -> None:
    there = real_data / "ct" / "abdomen_nifti_totalsegmentator"
    for name in ("example_ct", "example_ct_sm"):
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / f"{name}.nii.gz").symlink_to(there / f"{name}.nii.gz")
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    (tmp_path / "given" / "example_ct_sm").mkdir(parents=True)
    (tmp_path / "given" / "example_ct.nii.gz").symlink_to(there / "example_seg_fast_force_split.nii.gz")
    for one in (there / "example_seg_tissue_types").iterdir():
        (tmp_path / "given" / "example_ct_sm" / one.name).symlink_to(one)
    structures = ("liver", "spleen", "kidney_left", "bowel")
    given = read(tmp_path, "example_ct", structures)
    whole = read_masks(there / "example_seg_fast_force_split.nii.gz")
    assert given.notes == ()
    assert (given.masks.voxels == 1).sum() == (whole.voxels == 5).sum() > 1000
    assert (given.masks.voxels == 4).sum() == np.isin(whole.voxels, (6, 15, 18, 19, 20)).sum() > 1000
    fat = read(tmp_path, "example_ct_sm", ("subcutaneous_fat", "Torso Fat", "skeletal_muscle"))
    assert fat.notes == ()
    assert [int((fat.masks.voxels == n).sum()) > 1000 for n in (1, 2, 3)] == [True] * 3
