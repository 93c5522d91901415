from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.cohort.ct_rate import find_series, has_its_names
from espalier.cohort.files import Single
from espalier.cohort.hints import read_hints
from espalier.cohort.published_layout import NAMED_ROWS, Layout
from espalier.cohort.read import read_files
from espalier.cohort.series import Series
from espalier.cohort.volume import Volume
from espalier.errors import InputError
from espalier.geometry import world_mm

from .conftest import BRIGHT, BRIGHT_HU, body_hu, patch_header
from .published import ct_rate_path, singles, write_metadata, write_table, write_volume

TABLE = Path("dataset", "metadata", "validation_metadata.csv")


def found(source: Path) -> Layout:
    return find_series(singles(source), source=source)


def one(layout: Layout) -> Series:
    (series,) = layout.series
    return series


def read(series: Series) -> Volume:
    return read_files(Path(series.source), form=series.format, files=(), hints=read_hints(series.hints)).volume


def reasons(layout: Layout) -> dict[str, str]:
    return {Path(row["source"]).name: row["reason"] for row in layout.set_aside}


def test_a_volume_of_the_second_upload_is_never_rescaled_again(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {"RescaleIntercept": "-8192", "XYSpacing": "[9, 9]", "ZSpacing": "9"}})
    volume = read(one(found(tmp_path)))
    assert np.array_equal(volume.voxels, body_hu())
    assert volume.spacing_mm == pytest.approx((1.5, 0.75, 0.75))


@pytest.mark.parametrize("intercept", [-8192, -1024, 0])
def test_a_volume_of_the_first_upload_gets_its_hu_and_its_place_from_the_table(intercept: int, tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid"), body_hu() - intercept, np.eye(4))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {"RescaleIntercept": str(intercept)}})
    volume = read(one(found(tmp_path)))
    k, j, i = BRIGHT
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, body_hu())
    assert volume.voxels[BRIGHT] == BRIGHT_HU
    place = [-195.125 + 0.75 * i, -373.5 + 0.75 * j, -1250.8 + 1.5 * k]
    assert world_mm(volume.affine, BRIGHT) == pytest.approx(place, abs=1e-3)


def test_the_first_upload_follows_the_direction_of_rows_and_columns(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid"), body_hu() + 1024, np.eye(4))
    turned = {"ImageOrientationPatient": "[-1, 0, 0, 0, -1, 0]", "RescaleIntercept": "-1024", "XYSpacing": "[0.5, 0.75]"}
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": turned})
    volume = read(one(found(tmp_path)))
    k, j, i = BRIGHT
    place = [-195.125 - 0.5 * i, -373.5 - 0.75 * j, -1250.8 + 1.5 * k]
    assert world_mm(volume.affine, BRIGHT) == pytest.approx(place, abs=1e-3)


def test_the_first_upload_needs_no_orientation_of_its_own(tmp_path: Path) -> None:
    path = write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid").with_suffix(""), body_hu() + 8192)
    patch_header(path, {"sform_code": 0, "qform_code": 0})
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}})
    volume = read(one(found(tmp_path)))
    assert np.array_equal(volume.voxels, body_hu())
    assert world_mm(volume.affine, (0, 0, 0)) == pytest.approx([-195.125, -373.5, -1250.8], abs=1e-3)


def test_of_both_uploads_the_second_is_taken_and_the_other_set_aside_with_the_reason(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid"), body_hu() + 8192)
    kept = write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}})
    layout = found(tmp_path)
    assert one(layout).source == kept.as_posix()
    assert one(layout).hints == ""
    (row,) = layout.set_aside
    assert (row["reason"], row["source"]) == ("first_upload", ct_rate_path(tmp_path, "valid_1_a_1", "valid").as_posix())
    assert row["scan"] == one(layout).scan


def test_names_and_table_say_whose_a_volume_is_and_how_it_was_made(tmp_path: Path) -> None:
    for name in ("train_12_b_2", "valid_12_a_1"):
        write_volume(ct_rate_path(tmp_path, name))
    write_metadata(tmp_path / "dataset/metadata/train_metadata.csv", {"train_12_b_2": {}})
    write_metadata(tmp_path / TABLE, {"valid_12_a_1": {"Manufacturer": "Siemens Healthineers", "ConvolutionKernel": "YA"}})
    train, valid = sorted((s.about for s in found(tmp_path).series), key=lambda about: about.patient)
    assert (train.patient, train.study_uid, train.series_uid) == ("train_12", "train_12_b", "train_12_b_2")
    assert (train.age_years, train.sex, train.kernel, train.manufacturer) == (42.0, "F", "Bl57d\\3", "Siemens")
    assert (valid.patient, valid.manufacturer, valid.kernel) == ("valid_12", "Siemens", "YA")
    assert (train.official_split, valid.official_split) == ("train", "test")


def test_an_empty_age_is_no_age(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_41_b_1"))
    write_metadata(tmp_path / TABLE, {"valid_41_b_1": {"PatientAge": ""}})
    assert one(found(tmp_path)).about.age_years is None


def test_the_table_tells_how_many_slices_there_are_to_choose_by(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}})
    series = one(found(tmp_path))
    assert (series.slices, series.spacing_z_mm, series.coverage_mm) == (14, 1.5, 21.0)


@pytest.mark.parametrize("line", ["valid_1_a_1.nii.gz", "dataset/valid/valid_1/valid_1_a/valid_1_a_1.nii.gz", "valid_1_a_1"])
def test_volumes_on_the_list_of_other_body_parts_are_set_aside(line: str, tmp_path: Path) -> None:
    for name in ("valid_1_a_1", "valid_1_a_2"):
        write_volume(ct_rate_path(tmp_path, name))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}, "valid_1_a_2": {}})
    (tmp_path / "dataset/metadata/no_chest_valid.txt").write_text(f"{line}\n\n")
    layout = found(tmp_path)
    assert one(layout).about.series_uid == "valid_1_a_2"
    assert reasons(layout) == {"valid_1_a_1.nii.gz": "not_the_body_part"}


def test_a_row_without_a_file_is_named_and_a_file_without_a_row_noted(tmp_path: Path) -> None:
    for name in ("valid_1_a_1", "valid_2_a_1"):
        write_volume(ct_rate_path(tmp_path, name))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}, "valid_3_a_1": {}})
    layout = found(tmp_path)
    by_name = {s.about.series_uid: s for s in layout.series}
    assert set(by_name) == {"valid_1_a_1", "valid_2_a_1"}
    assert layout.notes == {by_name["valid_2_a_1"].scan: ("not_in_metadata",)}
    (row,) = layout.set_aside
    assert (row["source"], row["reason"]) == ("valid_3_a_1", "missing_file")


def test_a_part_of_the_data_set_is_no_fault_and_the_rest_is_counted(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_metadata(tmp_path / TABLE, {f"valid_{n}_a_1": {} for n in range(1, NAMED_ROWS + 3)})
    layout = found(tmp_path)
    assert layout.set_aside == []
    assert layout.words == (f"{NAMED_ROWS + 1} of {NAMED_ROWS + 2} rows of validation_metadata.csv have no file here",)


def test_the_other_split_may_be_another_source_and_is_not_missing(tmp_path: Path) -> None:
    for name in ("valid_1_a_1", "train_1_a_1"):
        write_volume(ct_rate_path(tmp_path, name))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}})
    write_metadata(tmp_path / "dataset/metadata/train_metadata.csv", {"train_1_a_1": {}})
    assert found(tmp_path / "dataset/valid_fixed").set_aside == []


def test_without_tables_the_second_upload_is_read_and_the_first_set_aside(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_volume(ct_rate_path(tmp_path, "train_1_a_1", "train"))
    layout = found(tmp_path)
    assert one(layout).about.series_uid == "valid_1_a_1"
    assert reasons(layout) == {"train_1_a_1.nii.gz": "not_in_metadata"}


@pytest.mark.parametrize("column", ["RescaleSlope", "RescaleIntercept", "XYSpacing", "ImagePositionPatient"])
@pytest.mark.parametrize("cell", ["", "nan", "[inf, inf, inf]", "[1, 2, 3, 4]", "one"])
def test_a_first_upload_whose_row_lacks_a_number_is_set_aside(column: str, cell: str, tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {column: cell}})
    assert reasons(found(tmp_path)) == {"valid_1_a_1.nii.gz": "metadata_incomplete"}


@pytest.mark.parametrize("orientation", ["[1, 0, 0, 1, 0, 0]", "[0, 0, 0, 0, 0, 0]", "[nan, 0, 0, 0, 1, 0]"])
def test_directions_that_span_no_slice_are_set_aside(orientation: str, tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {"ImageOrientationPatient": orientation}})
    assert reasons(found(tmp_path)) == {"valid_1_a_1.nii.gz": "metadata_incomplete"}


@pytest.mark.parametrize("folder", ["valid_fixed", "valid"])
def test_a_volume_whose_slices_have_no_distance_is_set_aside(folder: str, tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", folder))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {"ZSpacing": ""}})
    assert reasons(found(tmp_path)) == {"valid_1_a_1.nii.gz": "no_slice_spacing"}


def test_masks_that_bear_the_names_of_volumes_are_not_taken_for_scans(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_volume(tmp_path / "dataset/ts_seg/ts_total/valid_fixed/valid_1/valid_1_a/valid_1_a_1.nii.gz")
    write_volume(tmp_path / "dataset_ts_seg_ts_total_valid_fixed_valid_1_valid_1_a_valid_1_a_1.nii.gz")
    layout = found(tmp_path)
    assert "ts_seg" not in one(layout).source
    assert (layout.others, layout.set_aside) == (2, [])


def test_another_name_is_set_aside_with_what_was_expected(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_volume(tmp_path / "dataset" / "scan7.nii.gz")
    assert reasons(found(tmp_path)) == {"scan7.nii.gz": "not_in_layout"}


def test_flattened_names_mean_the_same(tmp_path: Path) -> None:
    fixed = write_volume(tmp_path / "dataset_valid_fixed_valid_1_valid_1_a_valid_1_a_1.nii.gz")
    first = write_volume(tmp_path / "dataset_train_train_2_train_2_a_train_2_a_1.nii.gz", body_hu() + 1024)
    write_metadata(tmp_path / "dataset_metadata_validation_metadata.csv", {"valid_1_a_1": {}})
    write_metadata(tmp_path / "dataset_metadata_train_metadata.csv", {"train_2_a_1": {"RescaleIntercept": "-1024"}})
    by_name = {s.about.series_uid: s for s in found(tmp_path).series}
    assert {name: s.source for name, s in by_name.items()} == {
        "valid_1_a_1": fixed.as_posix(),
        "train_2_a_1": first.as_posix(),
    }
    assert by_name["valid_1_a_1"].about.age_years == 42
    assert by_name["valid_1_a_1"].hints == ""
    assert np.array_equal(read(by_name["train_2_a_1"]).voxels, body_hu())


def test_files_without_folders_count_as_hu(tmp_path: Path) -> None:
    write_volume(tmp_path / "valid_1_a_1.nii.gz")
    write_metadata(tmp_path / "valid_metadata.csv", {"valid_1_a_1": {}})
    series = one(found(tmp_path))
    assert (series.hints, series.about.sex) == ("", "F")


@pytest.mark.parametrize("below", [".", "dataset", "dataset/valid_fixed", "dataset/valid_fixed/valid_1"])
def test_the_source_may_be_any_folder_of_the_download_and_the_scan_keeps_its_id(below: str, tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}})
    assert one(found(tmp_path)).scan == one(found(tmp_path / below)).scan
    assert one(found(tmp_path / below)).about.age_years == 42


@pytest.mark.parametrize("below", ["dataset", "dataset/valid", "dataset/valid/valid_1"])
def test_the_first_upload_is_known_from_the_folders_above_the_source(below: str, tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1", "valid"))
    write_metadata(tmp_path / TABLE, {"valid_1_a_1": {}})
    assert read_hints(one(found(tmp_path / below)).hints).intercept == -8192


def test_the_folder_of_the_split_alone_tells_the_upload(tmp_path: Path) -> None:
    write_volume(tmp_path / "valid" / "valid_1_a_1.nii.gz")
    write_volume(tmp_path / "train" / "valid_fixed" / "valid_2_a_1.nii.gz")
    write_metadata(tmp_path / "validation_metadata.csv", {"valid_1_a_1": {}, "valid_2_a_1": {}})
    hints = {s.about.series_uid: read_hints(s.hints).intercept for s in found(tmp_path).series}
    assert hints == {"valid_1_a_1": -8192, "valid_2_a_1": 0}


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    write_table(tmp_path / TABLE, ["name"], [{"name": "valid_1_a_1"}])
    with pytest.raises(InputError, match="no column VolumeName"):
        found(tmp_path)


NAMES = st.builds(
    "{}_{}_{}_{}".format, st.sampled_from(["train", "valid"]), st.integers(1, 3), st.sampled_from("ab"), st.integers(1, 2)
)
FOLDERS = st.sampled_from(["train", "train_fixed", "valid_fixed", "ts_seg/ts_total/valid_fixed", "other"])


@given(files=st.lists(st.tuples(FOLDERS, NAMES | st.just("scan")), max_size=12, unique=True))
def test_every_file_is_a_series_or_set_aside_or_no_scan_and_no_patient_is_in_two_splits(
    files: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp()
    told = [Single(root / folder / f"{name}.nii.gz", f"{folder}/{name}.nii.gz") for folder, name in files]
    layout = find_series(told, source=root)
    sources = [s.source for s in layout.series] + [row["source"] for row in layout.set_aside]
    assert len(set(sources)) == len(sources) == len(files) - layout.others
    assert len({s.scan for s in layout.series}) == len(layout.series)
    for series in layout.series:
        assert layout.splits[series.about.patient] == series.about.official_split
        assert series.about.patient.startswith({"train": "train_", "test": "valid_"}[series.about.official_split])


def test_its_names_are_known(tmp_path: Path) -> None:
    write_volume(ct_rate_path(tmp_path, "valid_1_a_1"))
    assert has_its_names(singles(tmp_path))
    write_volume(tmp_path / "patient" / "scan.nii.gz")
    assert not has_its_names(singles(tmp_path))
