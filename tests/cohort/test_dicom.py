import shutil
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from espalier.cohort.checks import check_hu
from espalier.cohort.dicom import index_folder, read_dicom
from espalier.cohort.hints import Hints
from espalier.cohort.read import read_files
from espalier.cohort.series import best_series
from espalier.cohort.volume import AIR_HU, Reading
from espalier.errors import ScanError
from espalier.geometry import is_sheared, world_mm

from .conftest import BRIGHT, BRIGHT_HU, ORIGIN_MM, PIXEL_MM, SHAPE, STEP_MM, DicomSeries, body_hu, edit, uid

EXPECTED_WORLD = (
    ORIGIN_MM[0] + BRIGHT[2] * PIXEL_MM[1],
    ORIGIN_MM[1] + BRIGHT[1] * PIXEL_MM[0],
    ORIGIN_MM[2] + BRIGHT[0] * STEP_MM,
)


def read(folder: Path) -> Reading:
    return read_dicom(folder, sorted(p.name for p in folder.iterdir()))


def bright_world(reading: Reading) -> np.ndarray:
    voxels = reading.volume.voxels
    return world_mm(reading.volume.affine, np.unravel_index(int(np.argmax(voxels)), voxels.shape))


def code_of(folder: Path) -> str:
    with pytest.raises(ScanError) as caught:
        read(folder)
    return caught.value.code


def test_a_clean_series_keeps_its_hu_and_the_place_of_a_known_voxel(write_series: DicomSeries, tmp_path: Path) -> None:
    reading = read(write_series(tmp_path / "a"))
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert reading.volume.voxels.dtype == np.int16
    assert reading.volume.spacing_mm == pytest.approx((STEP_MM, *PIXEL_MM))
    assert bright_world(reading) == pytest.approx(EXPECTED_WORLD)
    assert reading.notes == ()


def test_a_missing_slice_is_told_with_its_place(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    (folder / "slice_006.dcm").unlink()
    with pytest.raises(ScanError, match=r"6\.00 mm after slice 6; expected 3\.00 mm") as caught:
        read(folder)
    assert caught.value.code == "missing_slice"


def test_a_distance_that_changes_inside_is_resampled_by_position(write_series: DicomSeries, tmp_path: Path) -> None:
    def thin_upper_half(dataset: pydicom.Dataset, n: int) -> None:
        dataset.ImagePositionPatient[2] = 100.0 + (3.0 * n if n < 7 else 18 + 1.5 * (n - 6))

    reading = read(write_series(tmp_path / "a", change=thin_upper_half))
    assert reading.notes == ("spacing_varies",)
    assert reading.volume.spacing_mm == pytest.approx((1.5, *PIXEL_MM))
    assert reading.widest_gap_mm == pytest.approx(3.0)
    assert bright_world(reading) == pytest.approx(EXPECTED_WORLD)
    steps = reading.volume.voxels[:, 7, 7]  # the row that counts slices: half-way values between thick ones
    assert steps[:5].tolist() == [0, 0, 1, 2, 2]
    assert steps[-3:].tolist() == [11, 12, 13]


def test_distances_without_a_pattern_are_uneven(write_series: DicomSeries, tmp_path: Path) -> None:
    def scatter(dataset: pydicom.Dataset, n: int) -> None:
        dataset.ImagePositionPatient[2] = 100.0 + 3.0 * n + (0.9 if n % 2 else 0)

    assert code_of(write_series(tmp_path / "a", change=scatter)) == "uneven_slices"


def test_a_missing_slice_is_interpolated_only_where_the_study_says_so(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    (folder / "slice_009.dcm").unlink()
    names = sorted(p.name for p in folder.iterdir())
    reading = read_dicom(folder, names, hints=Hints(missing_slice="interpolate"))
    assert reading.notes == ("slice_interpolated",)
    assert np.array_equal(reading.volume.voxels, body_hu())
    (folder / "slice_010.dcm").unlink()
    with pytest.raises(ScanError) as caught:
        read_dicom(folder, names[:9] + names[10:], hints=Hints(missing_slice="interpolate"))
    assert caught.value.code == "missing_slice"


def test_jitter_of_a_thousandth_of_a_millimetre_is_borne(write_series: DicomSeries, tmp_path: Path) -> None:
    def jitter(dataset: pydicom.Dataset, n: int) -> None:
        dataset.ImagePositionPatient[2] += 0.001 * (-1) ** n

    assert read(write_series(tmp_path / "a", change=jitter)).notes == ()


def test_an_equal_copy_of_a_slice_is_left_out_with_a_note(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    shutil.copy(folder / "slice_003.dcm", folder / "copy.dcm")
    edit(folder / "copy.dcm", lambda d: setattr(d, "SOPInstanceUID", uid("copy")))
    reading = read(folder)
    assert reading.volume.shape == SHAPE
    assert reading.notes == ("duplicates_dropped",)
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert len(reading.files) == SHAPE[0]


def test_two_different_slices_at_one_place_conflict(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    shutil.copy(folder / "slice_003.dcm", folder / "copy.dcm")
    edit(folder / "copy.dcm", lambda d: setattr(d, "PixelData", d.PixelData[:-2] + b"\x07\x07"))
    assert code_of(folder) == "conflicting_slices"


def test_a_localizer_inside_the_series_is_left_out(write_series: DicomSeries, tmp_path: Path) -> None:
    def stand_up(dataset: pydicom.Dataset, n: int) -> None:
        if n == 13:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    reading = read(write_series(tmp_path / "a", change=stand_up))
    assert reading.volume.shape[0] == SHAPE[0] - 1
    assert reading.notes == ("localizers_dropped",)
    assert bright_world(reading) == pytest.approx(EXPECTED_WORLD)


def test_half_a_series_in_another_direction_is_refused(write_series: DicomSeries, tmp_path: Path) -> None:
    def stand_up(dataset: pydicom.Dataset, n: int) -> None:
        if n % 2:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    assert code_of(write_series(tmp_path / "a", change=stand_up)) == "mixed_orientation"


def test_one_slice_of_another_pixel_spacing_is_refused(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    edit(folder / "slice_004.dcm", lambda d: setattr(d, "PixelSpacing", [1.6, 1.6]))
    assert code_of(folder) == "mixed_spacing"


def test_one_slice_of_another_size_is_refused(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")

    def shrink(dataset: pydicom.Dataset) -> None:
        dataset.Rows, dataset.PixelData = 10, dataset.PixelData[: 2 * 10 * 24]

    edit(folder / "slice_004.dcm", shrink)
    assert code_of(folder) == "mixed_size"


def test_a_slice_without_position_is_refused(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    edit(folder / "slice_004.dcm", lambda d: delattr(d, "ImagePositionPatient"))
    assert code_of(folder) == "no_position"


def test_instance_numbers_are_never_asked(write_series: DicomSeries, tmp_path: Path) -> None:
    def scramble(dataset: pydicom.Dataset, n: int) -> None:
        dataset.InstanceNumber = (5 * n) % 14

    assert np.array_equal(read(write_series(tmp_path / "a", change=scramble)).volume.voxels, body_hu())


@pytest.mark.parametrize(
    "orientation",
    [
        (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),  # feet first, supine
        (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),  # prone
        (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),  # sagittal
        (np.cos(0.3), np.sin(0.3), 0.0, -np.sin(0.3), np.cos(0.3), 0.0),  # turned about the body's axis
    ],
)
def test_the_place_of_a_voxel_follows_from_the_direction_vectors_alone(
    write_series: DicomSeries, tmp_path: Path, orientation: tuple[float, ...]
) -> None:
    reading = read(write_series(tmp_path / "a", orientation=orientation, PatientPosition="HFS"))
    row, column = np.array(orientation).reshape(2, 3)
    expected = np.array(ORIGIN_MM) + BRIGHT[0] * STEP_MM * np.cross(row, column)
    expected = expected + BRIGHT[1] * PIXEL_MM[0] * column + BRIGHT[2] * PIXEL_MM[1] * row
    assert bright_world(reading) == pytest.approx(expected)


def test_a_tilted_gantry_keeps_world_positions_in_a_sheared_affine(write_series: DicomSeries, tmp_path: Path) -> None:
    tilt = np.radians(15)

    def tilted(dataset: pydicom.Dataset, n: int) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(tilt)), float(np.sin(tilt))]
        dataset.ImagePositionPatient = [ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + STEP_MM * n]

    reading = read(write_series(tmp_path / "a", change=tilted))
    down = np.array([0, np.cos(tilt), np.sin(tilt)])
    expected = np.array(ORIGIN_MM) + [BRIGHT[2] * PIXEL_MM[1], 0, BRIGHT[0] * STEP_MM] + BRIGHT[1] * PIXEL_MM[0] * down
    assert reading.notes == ("gantry_tilt",)
    assert bright_world(reading) == pytest.approx(expected, abs=1e-4)
    upright = read_files(tmp_path / "a", form="dicom", files=list(reading.files)).volume
    assert not is_sheared(upright.affine)
    assert upright.spacing_mm == pytest.approx((STEP_MM * np.cos(tilt), *PIXEL_MM))
    inside = upright.voxels.astype(float) - 40
    inside[upright.voxels < 200] = 0
    middle = np.average(np.argwhere(inside > 0), axis=0, weights=inside[inside > 0])  # the bright voxel, spread over two rows
    assert world_mm(upright.affine, middle) == pytest.approx(expected, abs=0.2)


def test_a_rescale_of_its_own_is_applied_to_each_slice(write_series: DicomSeries, tmp_path: Path) -> None:
    def shift(dataset: pydicom.Dataset, n: int) -> None:
        if n % 2:
            stored = np.frombuffer(dataset.PixelData, dtype=np.uint16) + np.uint16(7168)
            dataset.PixelData, dataset.RescaleIntercept = stored.tobytes(), -8192

    reading = read(write_series(tmp_path / "a", change=shift))
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert reading.notes == ("rescale_varies",)


def test_padding_becomes_air(write_series: DicomSeries, tmp_path: Path) -> None:
    def pad(dataset: pydicom.Dataset, n: int) -> None:
        stored = np.frombuffer(dataset.PixelData, dtype=np.uint16).reshape(SHAPE[1:]).astype(np.int16)
        stored[0, :] = -2000
        stored[1, :] = 9000
        dataset.PixelRepresentation, dataset.PixelPaddingValue, dataset.PixelData = 1, 9000, stored.tobytes()

    reading = read(write_series(tmp_path / "a", change=pad))
    assert (reading.volume.voxels[:, :2] == AIR_HU).all()
    assert np.array_equal(reading.volume.voxels[:, 2:], body_hu()[:, 2:])
    assert reading.notes == ("padding_replaced",)


def test_padding_beyond_the_stored_bits_becomes_air(write_series: DicomSeries, tmp_path: Path) -> None:
    def pad(dataset: pydicom.Dataset, n: int) -> None:
        stored = np.frombuffer(dataset.PixelData, dtype=np.uint16).reshape(SHAPE[1:]).copy()
        stored[0] = 63536
        dataset.BitsStored, dataset.HighBit, dataset.PixelPaddingValue, dataset.PixelData = 12, 11, 63536, stored.tobytes()

    reading = read(write_series(tmp_path / "a", change=pad))
    assert (reading.volume.voxels[:, 0] == AIR_HU).all()
    assert np.array_equal(reading.volume.voxels[:, 1:], body_hu()[:, 1:])


def test_rubbish_above_the_stored_bits_is_masked(write_series: DicomSeries, tmp_path: Path) -> None:
    def overlay(dataset: pydicom.Dataset, n: int) -> None:
        stored = np.frombuffer(dataset.PixelData, dtype=np.uint16) | np.uint16(0x8000)
        dataset.PixelData, dataset.BitsStored, dataset.HighBit = stored.tobytes(), 12, 11

    assert np.array_equal(read(write_series(tmp_path / "a", change=overlay)).volume.voxels, body_hu())


def test_a_fractional_slope_gives_float_hu(write_series: DicomSeries, tmp_path: Path) -> None:
    reading = read(write_series(tmp_path / "a", RescaleSlope=0.5))
    assert reading.volume.voxels.dtype == np.float32
    assert reading.volume.voxels[BRIGHT] == (BRIGHT_HU + 1024) * 0.5 - 1024


def test_an_absent_rescale_leaves_values_that_are_no_hu(write_series: DicomSeries, tmp_path: Path) -> None:
    def bare(dataset: pydicom.Dataset, n: int) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept

    reading = read(write_series(tmp_path / "a", change=bare))
    assert reading.notes == ("no_rescale",)
    with pytest.raises(ScanError) as caught:
        check_hu(reading.volume, source="a")
    assert caught.value.code == "not_hu"


@pytest.mark.parametrize("cut", [100, 700])
def test_cut_pixels_are_told_as_truncated_with_the_file(write_series: DicomSeries, tmp_path: Path, cut: int) -> None:
    folder = write_series(tmp_path / "a")
    path = folder / "slice_004.dcm"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ScanError, match=r"slice_004\.dcm") as caught:
        read(folder)
    assert caught.value.code == "truncated_pixels"


def test_a_header_cut_before_its_geometry_is_unreadable(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    path = folder / "slice_004.dcm"
    path.write_bytes(path.read_bytes()[:450])
    assert code_of(folder) == "unreadable_file"


def test_several_frames_in_one_file_are_refused(write_series: DicomSeries, tmp_path: Path) -> None:
    assert code_of(write_series(tmp_path / "a", NumberOfFrames=2)) == "multi_frame"


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_slices_give_the_same_hu(write_series: DicomSeries, tmp_path: Path, syntax: str) -> None:
    def compress(dataset: pydicom.Dataset, n: int) -> None:
        dataset.compress(syntax, generate_instance_uid=False)

    shape = (10, 64, 64)
    reading = read(write_series(tmp_path / "a", shape=shape, change=compress))
    assert np.array_equal(reading.volume.voxels, body_hu(shape))


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_slices_compressed_by_gdcm_give_the_same_hu(write_series: DicomSeries, tmp_path: Path, syntax: str) -> None:
    folder = write_series(tmp_path / "a")
    for path in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    assert np.array_equal(read(folder).volume.voxels, body_hu())


def test_a_corrupt_codestream_is_undecodable(write_series: DicomSeries, tmp_path: Path) -> None:
    def compress(dataset: pydicom.Dataset, n: int) -> None:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.PixelData = dataset.PixelData[:30] + bytes(len(dataset.PixelData) - 30)

    assert code_of(write_series(tmp_path / "a", shape=(10, 64, 64), change=compress)) == "undecodable_pixels"


def test_a_file_without_preamble_and_meta_is_read(write_series: DicomSeries, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a")
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        bare = pydicom.Dataset(dataset)
        bare.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    (series,) = index_folder(folder)
    assert series.slices == SHAPE[0]
    assert np.array_equal(read(folder).volume.voxels, body_hu())


def test_implicit_syntax_resolves_the_padding_value(write_series: DicomSeries, tmp_path: Path) -> None:
    def implicit(dataset: pydicom.Dataset, n: int) -> None:
        stored = np.frombuffer(dataset.PixelData, dtype=np.uint16).copy()
        stored[0] = 63536
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.PixelData, dataset.PixelPaddingValue = stored.tobytes(), 63536

    reading = read(write_series(tmp_path / "a", change=implicit))
    assert (reading.volume.voxels[:, 0, 0] == AIR_HU).all()
    assert reading.volume.voxels.dtype == np.int16


def test_the_index_counts_no_text_and_splits_series(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", series="2", shape=(20, 20, 24))
    (tmp_path / "notes.txt").write_text("nothing")
    assert sorted(s.slices for s in index_folder(tmp_path)) == [14, 20]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"RescaleSlope": "nan"}, "unreadable_file"),
        ({"RescaleIntercept": "inf"}, "unreadable_file"),
        ({"RescaleSlope": "0"}, "unreadable_file"),
        ({"BitsStored": 12, "HighBit": 15}, "undecodable_pixels"),
    ],
)
def test_a_rescale_or_bits_that_cannot_be_right_are_refused(
    write_series: DicomSeries, tmp_path: Path, tags: dict[str, object], code: str
) -> None:
    folder = write_series(tmp_path / "a")
    for name, value in tags.items():
        if isinstance(value, int):
            edit(folder / "slice_004.dcm", lambda d, name=name, value=value: setattr(d, name, value))
        else:
            edit_text(folder / "slice_004.dcm", name, value)
    assert code_of(folder) == code


def edit_text(path: Path, keyword: str, text: object) -> None:
    """Write a decimal string that pydicom would refuse."""
    dataset = pydicom.dcmread(path)
    del dataset[keyword]
    dataset.add_new(pydicom.datadict.tag_for_keyword(keyword), "LO", str(text))
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("degrees", "ending"), [(0.01, ()), (0.07, ("gantry_tilt",)), (30, ("gantry_tilt",)), (60, "shifted_slices")]
)
def test_every_tilt_that_is_resampled_is_noted_and_steep_ones_are_none(
    write_series: DicomSeries, tmp_path: Path, degrees: float, ending: tuple[str, ...] | str
) -> None:
    tilt = np.radians(degrees)

    def tilted(dataset: pydicom.Dataset, n: int) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(tilt)), float(np.sin(tilt))]
        dataset.ImagePositionPatient = [ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + STEP_MM * n]

    folder = write_series(tmp_path / "a", change=tilted)
    if isinstance(ending, str):
        assert code_of(folder) == ending
        return
    reading = read_files(folder, form="dicom", files=sorted(p.name for p in folder.iterdir()))
    assert reading.notes == ending
    assert (reading.volume.shape == SHAPE) == (ending == ())


def test_slices_placed_by_their_location_are_one_series_whatever_their_times(write_series: DicomSeries, tmp_path: Path) -> None:
    def unplaced(dataset: pydicom.Dataset, n: int) -> None:
        del dataset.ImagePositionPatient
        dataset.SliceLocation, dataset.AcquisitionTime = 100 + STEP_MM * n, f"1000{n:02d}"

    folder = write_series(tmp_path / "a", change=unplaced)
    (series,) = index_folder(folder)
    assert series.problem == "no_position"
    reading = read_dicom(folder, series.names, hints=Hints(no_position="slice_location"))
    assert reading.notes == ("position_assumed",)
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert bright_world(reading)[2] == pytest.approx(EXPECTED_WORLD[2])


@pytest.mark.parametrize("differs", ["AcquisitionNumber", "ConvolutionKernel", "SliceThickness", "ContrastBolusAgent"])
def test_two_acquisitions_half_a_slice_apart_are_not_one_finer_volume(
    write_series: DicomSeries, tmp_path: Path, differs: str
) -> None:
    told = {"AcquisitionNumber": 2, "ConvolutionKernel": "B70f", "SliceThickness": 5, "ContrastBolusAgent": "Agent"}[differs]
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", change=lambda d, n: move(d, n, differs, told))
    series = index_folder(tmp_path)
    assert sorted((one.slices, round(one.spacing_z_mm, 3), one.problem) for one in series) == [(14, 3.0, ""), (14, 3.0, "")]
    assert len({one.scan for one in series}) == 2
    best, other = (read_dicom(tmp_path, one.names).volume for one in series)
    assert np.array_equal(best.voxels, body_hu())
    assert np.array_equal(other.voxels, body_hu())


def move(dataset: pydicom.Dataset, n: int, differs: str, told: object) -> None:
    dataset.ImagePositionPatient[2] += STEP_MM / 2
    dataset.SOPInstanceUID = uid("other", n)
    setattr(dataset, differs, told)


def test_acquisitions_that_follow_one_another_stay_one_series(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "a", change=lambda d, n: setattr(d, "AcquisitionNumber", 1 + n // 7))
    (series,) = index_folder(tmp_path)
    assert series.slices == SHAPE[0]


def test_slices_turned_in_their_plane_are_no_localizers(write_series: DicomSeries, tmp_path: Path) -> None:
    def turn(dataset: pydicom.Dataset, n: int) -> None:
        if n == 0:
            dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]

    assert code_of(write_series(tmp_path / "a", change=turn)) == "mixed_orientation"


@pytest.mark.parametrize(("padding", "kind"), [(0, 1), (4095, 0)])
def test_a_ring_of_told_padding_that_tissue_could_have_becomes_air(
    write_series: DicomSeries, tmp_path: Path, padding: int, kind: int
) -> None:
    def ring(dataset: pydicom.Dataset, n: int) -> None:
        hu = body_hu()[n].copy()
        stored = hu if kind else (hu + 1024).astype(np.uint16)
        stored[:3] = stored[-3:] = padding
        stored[:, :3] = stored[:, -3:] = padding
        stored[10, 12] = padding  # the same value inside the body is tissue
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = kind, 16 if kind else 12, 15 if kind else 11
        dataset.RescaleIntercept = 0 if kind else -1024
        dataset.PixelPaddingValue, dataset.PixelData = padding, stored.tobytes()

    reading = read(write_series(tmp_path / "a", change=ring))
    assert reading.notes == ("padding_replaced",)
    assert (reading.volume.voxels[:, :3] == AIR_HU).all()
    assert (reading.volume.voxels[:, 10, 12] == (padding if kind else padding - 1024)).all()
    assert np.array_equal(reading.volume.voxels[:, 4:9, 4:-4], body_hu()[:, 4:9, 4:-4])


def test_a_range_of_padding_becomes_air(write_series: DicomSeries, tmp_path: Path) -> None:
    def pad(dataset: pydicom.Dataset, n: int) -> None:
        stored = np.frombuffer(dataset.PixelData, dtype=np.uint16).reshape(SHAPE[1:]).copy()
        stored[0] = np.linspace(63536, 63545, 24).astype(np.uint16)
        dataset.PixelPaddingValue, dataset.PixelData = 63536, stored.tobytes()
        dataset.add_new("PixelPaddingRangeLimit", "US", 63545)

    reading = read(write_series(tmp_path / "a", change=pad))
    assert (reading.volume.voxels[:, 0] == AIR_HU).all()
    assert np.array_equal(reading.volume.voxels[:, 1:], body_hu()[:, 1:])


def test_numbers_that_are_no_hu_by_a_straight_line_are_refused(write_series: DicomSeries, tmp_path: Path) -> None:
    def lookup(dataset: pydicom.Dataset, n: int) -> None:
        table = pydicom.Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "HU"
        dataset.ModalityLUTSequence = pydicom.Sequence([table])

    assert code_of(write_series(tmp_path / "a", RescaleType="Z_EFF")) == "not_hu"
    assert code_of(write_series(tmp_path / "b", change=lookup)) == "not_hu"


def test_an_original_goes_before_a_finer_projection_of_it(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "a", series="1", step_mm=5.0)
    write_series(tmp_path / "b", series="2", step_mm=3.0, ImageType=["DERIVED", "SECONDARY", "MPR", "MIP"])
    best = best_series(index_folder(tmp_path))
    assert (best.spacing_z_mm, best.projection) == (5.0, False)


def test_slices_without_a_series_uid_are_grouped_by_what_they_are_and_noted(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path, series="1", SeriesInstanceUID="")
    for n, path in enumerate(
        sorted(write_series(tmp_path / "x", series="2", SeriesInstanceUID="", ConvolutionKernel="B70f").iterdir())
    ):
        path.rename(tmp_path / f"other_{n}.dcm")
    series = index_folder(tmp_path)
    assert [one.slices for one in series] == [14, 14]
    assert {one.notes for one in series} == {("grouped_by_folder",)}
