from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espalier.cohort.hints import read_hints
from espalier.cohort.published_layout import NAMED_ROWS, Layout
from espalier.cohort.rad_chestct import COLUMNS, EDGE_HU, find_series, has_its_names
from espalier.cohort.read import read_files
from espalier.cohort.series import Series
from espalier.cohort.stored import without_edge
from espalier.geometry import world_mm

from .conftest import BRIGHT, BRIGHT_HU, body_hu
from .published import singles, write_table

METADATA = "CT_Scan_Metadata_Complete_35747.csv"
ROW = {
    "Set_Assigned": "imgtrain_notetrain",
    "Subset_Assigned": "imgtrain",
    "orig_slope": "1",
    "orig_inter": "-1024",
    "zdiffs_all_equal": "True",
    "orig_orientation": "1,0,0,0,1,0",
    "final_spacing": "",
    "PatientAge": "067Y",
    "PatientSex": "F",
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ConvolutionKernel": "STANDARD",
    "SliceThickness": "0.625",
    "ProtocolName": "ATTR_VALUE_NOT_FOUND",
}
ALL_COLUMNS = ("VolumeAcc_DEID", "NoteAcc_DEID", *dict.fromkeys(("MRN_DEID", *ROW, *COLUMNS)))


def write_npz(path: Path, hu: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, ct=body_hu() if hu is None else hu)
    return path


def write_metadata(root: Path, rows: dict[str, dict[str, Any]]) -> None:
    told = [
        {"VolumeAcc_DEID": f"{name}.npz", "NoteAcc_DEID": name, "MRN_DEID": f"mrn{n:05d}", **ROW, **other}
        for n, (name, other) in enumerate(rows.items())
    ]
    write_table(root / METADATA, ALL_COLUMNS, told)


def found(source: Path) -> Layout:
    return find_series(singles(source), source=source)


def one(layout: Layout) -> Series:
    (series,) = layout.series
    return series


def test_the_patient_stands_in_the_table_and_the_split_in_the_name(tmp_path: Path) -> None:
    for name in ("trn00001", "val00002", "tst00003"):
        write_npz(tmp_path / f"{name}.npz")
    write_metadata(tmp_path, {"trn00001": {}, "val00002": {}, "tst00003": {}})
    layout = found(tmp_path)
    assert layout.splits == {"mrn00000": "train", "mrn00001": "train", "mrn00002": "test"}
    about = next(s.about for s in layout.series if s.about.series_uid == "trn00001")
    assert (about.patient, about.age_years, about.sex, about.manufacturer) == ("mrn00000", 67.0, "F", "GE")
    assert (about.kernel, about.slice_mm, about.description) == ("STANDARD", 0.625, "imgtrain")
    assert layout.notes == {}


def test_two_scans_of_one_patient_are_two_studies_of_one_patient(tmp_path: Path) -> None:
    for name in ("trn00001", "trn00002"):
        write_npz(tmp_path / f"{name}.npz")
    write_metadata(tmp_path, {"trn00001": {"MRN_DEID": "mrn7"}, "trn00002": {"MRN_DEID": "mrn7"}})
    first, second = found(tmp_path).series
    assert first.about.patient == second.about.patient == "mrn7"
    assert first.about.study_uid != second.about.study_uid


def test_a_volume_is_hu_already_and_lies_as_its_axes_say(tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {"trn00001": {"orig_slope": "2", "orig_inter": "-8192"}})
    series = one(found(tmp_path))
    volume = read_files(Path(series.source), form=series.format, files=(), hints=read_hints(series.hints)).volume
    place = np.argwhere(volume.voxels == BRIGHT_HU)
    assert len(place) == 1
    k, j, i = BRIGHT
    assert sorted(np.unique(volume.voxels)) == sorted(np.unique(body_hu()))
    assert volume.spacing_mm == pytest.approx((0.8, 0.8, 0.8))
    there = world_mm(volume.affine, tuple(place[0])) - world_mm(volume.affine, _corner(volume.affine, volume.shape))
    assert there == pytest.approx([0.8 * i, 0.8 * j, -0.8 * k])


def _corner(affine: np.ndarray, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the index of the corner that lies most superior, anterior and right: index 0 of the file."""
    ends = [(z, y, x) for z in (0, shape[0] - 1) for y in (0, shape[1] - 1) for x in (0, shape[2] - 1)]
    return min(ends, key=lambda index: tuple(np.array(world_mm(affine, index)) * [1, 1, -1]))


def test_slope_and_intercept_of_the_table_never_reach_the_reader(tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {"trn00001": {"orig_slope": "2", "orig_inter": "-8192"}})
    hints = read_hints(one(found(tmp_path)).hints)
    assert (hints.slope, hints.intercept, hints.affine) == (1.0, 0.0, None)
    assert (hints.axes, hints.spacing_mm) == ("IPL", (0.8, 0.8, 0.8))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_last_plane_of_only_the_fill_value_is_cut_away(axis: int) -> None:
    hu = body_hu()
    filled = np.insert(hu, hu.shape[axis], EDGE_HU, axis=axis)
    assert np.array_equal(without_edge(filled, edge_hu=EDGE_HU), hu)


def test_planes_of_anything_else_and_first_planes_stay() -> None:
    hu = body_hu()
    almost = hu.copy()
    almost[-1], almost[-1, 0, 0], almost[0] = EDGE_HU, 9, EDGE_HU
    assert np.array_equal(without_edge(hu, edge_hu=EDGE_HU), hu)
    assert np.array_equal(without_edge(almost, edge_hu=EDGE_HU), almost)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ({"zdiffs_all_equal": "False"}, "uneven_slices_resampled"),
        ({"final_spacing": "[1.5, 1.5, 1.5]"}, "spacing_differs"),
        ({"final_spacing": "1.5"}, "spacing_differs"),
        ({"MRN_DEID": "ATTR_VALUE_NOT_FOUND"}, "patient_unknown"),
    ],
)
def test_what_the_table_says_against_a_scan_is_noted(cells: dict[str, str], note: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {"trn00001": cells})
    layout = found(tmp_path)
    assert layout.notes == {one(layout).scan: (note,)}


@pytest.mark.parametrize("spacing", ["", "0.8", "[0.8, 0.8, 0.8]", "0.8,0.8,0.8", "ATTR_VALUE_NOT_FOUND"])
def test_the_published_spacing_in_any_spelling_is_no_note(spacing: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {"trn00001": {"final_spacing": spacing}})
    assert found(tmp_path).notes == {}


@pytest.mark.parametrize("orientation", ["1,0,0,0,-1,0", "[0.0, 1.0, 0.0, 0.0, 0.0, -1.0]"])
def test_a_scan_that_lay_otherwise_is_set_aside_since_its_axes_are_not_known(orientation: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {"trn00001": {"orig_orientation": orientation}})
    layout = found(tmp_path)
    assert (list(layout.series), [row["reason"] for row in layout.set_aside]) == ([], ["orientation_not_published"])


def test_a_patient_in_two_official_splits_only_tests(tmp_path: Path) -> None:
    for name in ("trn00001", "trn00002", "tst00003"):
        write_npz(tmp_path / f"{name}.npz")
    write_metadata(tmp_path, {"trn00001": {"MRN_DEID": "mrn7"}, "trn00002": {}, "tst00003": {"MRN_DEID": "mrn7"}})
    layout = found(tmp_path)
    assert layout.splits == {"mrn7": "test", "mrn00001": "train"}
    assert {s.about.series_uid for s in layout.series} == {"trn00002", "tst00003"}
    (row,) = layout.set_aside
    assert (Path(row["source"]).name, row["reason"]) == ("trn00001.npz", "patient_in_two_splits")


def test_without_the_table_each_scan_is_a_patient_of_its_own_and_says_so(tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    layout = found(tmp_path)
    assert one(layout).about.patient == "trn00001"
    assert layout.notes == {one(layout).scan: ("patient_unknown",)}
    assert layout.words == (f"{METADATA} is not here: each scan counts as a patient of its own",)


def test_metadata_of_scans_that_were_never_published_are_no_fault(tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {f"trn{n:05d}": {} for n in range(NAMED_ROWS + 5)})
    layout = found(tmp_path)
    assert (layout.set_aside, layout.words) == ([], ())


def test_a_published_scan_without_a_file_is_named(tmp_path: Path) -> None:
    write_npz(tmp_path / "trn00001.npz")
    write_metadata(tmp_path, {"trn00001": {}})
    write_table(tmp_path / "Summary_3630.csv", ["NoteAcc_DEID"], [{"NoteAcc_DEID": n} for n in ("trn00001", "trn00004")])
    (row,) = found(tmp_path).set_aside
    assert (row["source"], row["reason"]) == ("trn00004", "missing_file")


def test_other_arrays_and_second_copies_are_set_aside(tmp_path: Path) -> None:
    for name in ("trn00001.npz", "copy/trn00001.npz", "mask.npz"):
        write_npz(tmp_path / name)
    layout = found(tmp_path)
    one(layout)
    assert sorted((Path(row["source"]).name, row["reason"]) for row in layout.set_aside) == [
        ("mask.npz", "not_in_layout"),
        ("trn00001.npz", "series_twice"),
    ]


def test_its_names_are_known(tmp_path: Path) -> None:
    write_npz(tmp_path / "tst00001.npz")
    assert has_its_names(singles(tmp_path))
    write_npz(tmp_path / "scan.npz")
    assert not has_its_names(singles(tmp_path))
