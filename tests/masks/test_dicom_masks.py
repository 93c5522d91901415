"""DICOM SEG and RTSTRUCT, written by highdicom and pydicom on a series of the made-up chest."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import polars as pl
import pydicom
import pytest
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_scan
from espalier.cohort.table import read_cohort
from espalier.errors import MissingError, ScanError
from espalier.masks.cohort_rows import cohort_key
from espalier.masks.existing import existing_masks
from espalier.masks.find import INDEX, find_masks, found_names
from espalier.masks.given import Given

STEP_MM, PIXEL_MM = 5.0, (4.0, 3.0)
FRAME = generate_uid(entropy_srcs=["frame"])
SERIES = {n: generate_uid(entropy_srcs=[f"series {n}"]) for n in ("1", "2")}
BOTH = ("lung_left", "lung_right")


class Seen:
    """A study of one DICOM series, whose planes can be changed, and the true lungs on its grid (z, y, x)."""

    def __init__(self, root: Path, chest: Any, *, tilt: float = 0.0, series: str = "1", frame: str = FRAME) -> None:
        self.root = root
        self.slices = []
        self.left, self.right = chest.left[::2, ::2, ::2], chest.right[::2, ::2, ::2]
        hu = chest.volume.voxels[::2, ::2, ::2]
        folder = root / "scans" / f"p{series}"
        folder.mkdir(parents=True, exist_ok=True)
        for n, plane in enumerate(hu):
            self.slices.append(slice_file(folder / f"{n:03d}.dcm", plane, n, tilt=tilt, series=series, frame=frame))

    def ingested(self, **options: Any) -> "Seen":
        ingest(CohortOptions(sources=("scans",), min_slices=10, body_part="any", **options), folder=self.root)
        return self

    def given(self, structures: tuple[str, ...] = BOTH, *, scan: int = 0) -> Given:
        """Return the masks of one scan as the stage reads them."""
        rows = read_cohort(self.root).sort("source").to_dicts()
        found = find_masks(self.root / "given", structures, folder=self.root, cohort=cohort_key(self.root))
        row = rows[scan]
        names = found_names(self.root, found.key)[row["scan"]]
        volume = read_scan(row, folder=self.root)
        return existing_masks(volume, structures, root=self.root / "given", names=names, row=row, folder=self.root)


def slice_file(path: Path, hu: np.ndarray, n: int, *, tilt: float, series: str, frame: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(n)])
    one = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
    one.PatientID, one.PatientName, one.PatientBirthDate, one.PatientSex = f"P{series}", "A^B", "19500101", "F"
    one.StudyInstanceUID = generate_uid(entropy_srcs=[f"study {series}"])
    one.SeriesInstanceUID, one.FrameOfReferenceUID = SERIES[series], frame
    one.StudyID, one.StudyDate, one.StudyTime, one.AccessionNumber, one.ReferringPhysicianName = (
        "1",
        "20200101",
        "101010",
        "A",
        "",
    )
    one.SeriesNumber, one.InstanceNumber, one.ImageType = 1, n + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.PositionReferenceIndicator, one.Manufacturer, one.KVP = "", "Maker", 120
    one.ImagePositionPatient = [-100.0, -60.0 + tilt * n, 50.0 + STEP_MM * n]
    one.ImageOrientationPatient, one.PixelSpacing, one.SliceThickness = [1, 0, 0, 0, 1, 0], list(PIXEL_MM), STEP_MM
    one.Rows, one.Columns = hu.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, -1024, "HU"
    one.PixelData = (hu.astype(np.int32) + 1024).astype(np.uint16).tobytes()
    one.save_as(path, enforce_file_format=True)
    return one


def described(number: int, label: str) -> SegmentDescription:
    algorithm = hd.AlgorithmIdentificationSequence(name="x", version="1", family=codes.cid7162.ArtificialIntelligence)
    anatomy, tissue = codes.SCT.AnatomicalStructure, codes.SCT.Lung
    automatic = hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    return SegmentDescription(number, label, anatomy, tissue, automatic, algorithm)


def write_seg(seen: Seen, labels: tuple[str, ...], stacked: np.ndarray, *, kind: str = "BINARY", **options: Any) -> Path:
    """Write segments (z, y, x, segment) of 0 and 1, or shares of 1, or a label map (z, y, x)."""
    path = seen.root / "given" / options.pop("name", "some_seg.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = Segmentation(
            options.pop("source", seen.slices),
            stacked,
            SegmentationTypeValues[kind],
            [described(n, label) for n, label in enumerate(labels, start=1)],
            series_instance_uid=generate_uid(),
            series_number=9,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="x",
            manufacturer_model_name="x",
            software_versions="1",
            device_serial_number="1",
            **options,
        )
    path.parent.mkdir(exist_ok=True)
    seg.save_as(path)
    return path


def two(seen: Seen) -> np.ndarray:
    return np.stack([seen.left, seen.right], axis=-1).astype(np.uint8)


@pytest.fixture
def seen(tmp_path: Path, chest: Any) -> Seen:
    return Seen(tmp_path, chest).ingested()


def same_as_lungs(given: Given, seen: Seen) -> None:
    np.testing.assert_array_equal(given.masks.voxels == 1, seen.left)
    np.testing.assert_array_equal(given.masks.voxels == 2, seen.right)


@pytest.mark.parametrize("omit", [True, False])
def test_a_binary_segmentation_of_the_series_comes_out_on_the_scans_grid(seen: Seen, omit: bool) -> None:
    write_seg(seen, ("Left Lung", "Lung_R"), two(seen), omit_empty_frames=omit)
    given = seen.given()
    same_as_lungs(given, seen)
    assert given.notes == ()
    assert given.masks.names == {1: "lung_left", 2: "lung_right"}
    assert not seen.left[0].any()  # so that an empty frame was really left out


def test_frames_are_placed_by_their_positions_whatever_their_order(seen: Seen) -> None:
    path = write_seg(seen, BOTH, two(seen))
    dataset = pydicom.dcmread(path)
    frames = np.asarray(dataset.pixel_array)
    order = np.random.default_rng(1).permutation(len(frames))
    own = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [own[int(n)] for n in order]
    dataset.PixelData = pydicom.pixels.pack_bits(frames[order])
    dataset.save_as(path)
    same_as_lungs(seen.given(), seen)


def test_a_label_map_and_fractions_are_read(seen: Seen) -> None:
    write_seg(seen, BOTH, (seen.left + 2 * seen.right).astype(np.uint8), kind="LABELMAP")
    same_as_lungs(seen.given(), seen)
    shares = two(seen) * np.float32(0.6) + np.float32(0.3) * (1 - two(seen))
    write_seg(seen, BOTH, shares, kind="FRACTIONAL", fractional_type="PROBABILITY")
    given = seen.given()
    same_as_lungs(given, seen)
    assert given.notes == ("mask_fractional",)


def test_packed_fractions_are_read(seen: Seen) -> None:
    rle = pydicom.uid.RLELossless
    write_seg(seen, BOTH, two(seen).astype(np.float32), kind="FRACTIONAL", fractional_type="OCCUPANCY", transfer_syntax_uid=rle)
    same_as_lungs(seen.given(), seen)


def test_where_segments_overlap_the_first_wanted_structure_has_the_voxel(seen: Seen) -> None:
    stacked = two(seen)
    stacked[..., 1] |= stacked[..., 0]
    write_seg(seen, BOTH, stacked)
    given = seen.given()
    same_as_lungs(given, seen)
    assert given.notes == ("mask_overlap",)
    other = seen.given(("lung_right", "lung_left"))
    assert (other.masks.voxels == 1).sum() == (seen.left | seen.right).sum()


def test_names_come_from_codes_where_the_label_says_nothing(seen: Seen) -> None:
    path = write_seg(seen, ("Segment 1", "Segment 2"), two(seen))
    dataset = pydicom.dcmread(path)
    for segment, side in zip(dataset.SegmentSequence, ("Left", "Right"), strict=True):
        modifier = Dataset()
        modifier.CodeValue, modifier.CodingSchemeDesignator, modifier.CodeMeaning = "7771000", "SCT", side
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    dataset.save_as(path)
    same_as_lungs(seen.given(), seen)


def test_a_structure_that_is_not_there_is_told_with_the_names_that_look_like_it(seen: Seen) -> None:
    write_seg(seen, ("Liver, left lobe", "Lungs"), two(seen))
    with pytest.raises(ScanError, match=r"liver is not among its \d structures; did you mean Liver, left lobe") as caught:
        seen.given(("liver",))
    assert caught.value.code == "mask_without_structure"


def test_a_segmentation_on_a_finer_grid_keeps_it_and_is_noted(seen: Seen) -> None:
    fine = np.repeat(np.repeat(two(seen), 2, axis=1), 2, axis=2)
    measures = hd.PixelMeasuresSequence([p / 2 for p in PIXEL_MM], STEP_MM, STEP_MM)
    positions = [
        hd.PlanePositionSequence("PATIENT", [-100.0 - PIXEL_MM[1] / 4, -60.0 - PIXEL_MM[0] / 4, 50.0 + STEP_MM * n])
        for n in range(len(fine))
    ]
    orientation = hd.PlaneOrientationSequence("PATIENT", [1, 0, 0, 0, 1, 0])
    write_seg(seen, BOTH, fine, pixel_measures=measures, plane_positions=positions, plane_orientation=orientation)
    given = seen.given()
    assert given.notes == ("mask_other_grid",)
    assert given.masks.voxels.shape[1:] == (60, 80)
    assert (given.masks.voxels == 1).sum() == 4 * seen.left.sum()
    where = np.argwhere(given.masks.voxels == 1)[0]
    world = given.masks.affine @ [*where, 1]
    row, column = (world[1] + 60) / PIXEL_MM[0], (world[0] + 100) / PIXEL_MM[1]
    assert seen.left[round((world[2] - 50) / STEP_MM), round(row), round(column)]


@pytest.mark.parametrize("axes", [(2,), (1,), (0, 2), (1, 2)])
def test_frames_whose_rows_or_columns_run_the_other_way_come_out_on_the_scans_grid(seen: Seen, axes: tuple[int, ...]) -> None:
    turned = np.flip(two(seen), axes)
    x0, dx = (-100.0 + PIXEL_MM[1] * 39, -1) if 2 in axes else (-100.0, 1)
    y0, dy = (-60.0 + PIXEL_MM[0] * 29, -1) if 1 in axes else (-60.0, 1)
    order = range(20)[::-1] if 0 in axes else range(20)
    write_seg(
        seen,
        BOTH,
        turned,
        pixel_measures=hd.PixelMeasuresSequence(PIXEL_MM, STEP_MM, STEP_MM),
        plane_positions=[hd.PlanePositionSequence("PATIENT", [x0, y0, 50.0 + STEP_MM * n]) for n in order],
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [dx, 0, 0, 0, dy, 0]),
    )
    given = seen.given()
    same_as_lungs(given, seen)
    assert given.notes == ()


def test_frames_that_begin_within_a_byte_and_show_a_part_of_the_scan_are_read(seen: Seen) -> None:
    part = two(seen)[2:18, 1:30, 1:40]
    assert part[0, ..., 0].size % 8
    write_seg(
        seen,
        BOTH,
        part,
        pixel_measures=hd.PixelMeasuresSequence(PIXEL_MM, STEP_MM, STEP_MM),
        plane_positions=[
            hd.PlanePositionSequence("PATIENT", [-100.0 + PIXEL_MM[1], -60.0 + PIXEL_MM[0], 50.0 + STEP_MM * n])
            for n in range(2, 18)
        ],
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [1, 0, 0, 0, 1, 0]),
    )
    given = seen.given()
    np.testing.assert_array_equal(given.masks.voxels[2:18] == 1, seen.left[2:18])
    np.testing.assert_array_equal(given.masks.voxels[2:18] == 2, seen.right[2:18])
    assert given.notes == ()


def test_a_mask_of_a_tilted_series_lies_where_its_frames_lie(tmp_path: Path, chest: Any) -> None:
    seen = Seen(tmp_path, chest, tilt=1.0).ingested()
    write_seg(seen, BOTH, two(seen))
    given = seen.given()
    assert given.notes == ("mask_other_grid",)
    z, y, x = np.argwhere(given.masks.voxels == 1)[-1]
    first = np.argwhere(seen.left | seen.right).min(axis=0)[0]
    world = (given.masks.affine @ [z, y, x, 1])[:3]
    np.testing.assert_allclose(world, [-100 + x * PIXEL_MM[1], -60 + (z + first) + y * PIXEL_MM[0], 50 + (z + first) * STEP_MM])


def test_a_mask_made_on_another_series_is_found_by_the_frame_of_reference(tmp_path: Path, chest: Any) -> None:
    seen = Seen(tmp_path, chest)
    other = Seen(tmp_path / "elsewhere", chest, series="2")
    seen.ingested()
    write_seg(seen, BOTH, two(seen), source=other.slices)
    given = seen.given()
    same_as_lungs(given, seen)
    assert given.notes == ("mask_of_other_series",)


def test_a_mask_in_another_frame_of_reference_is_set_aside(seen: Seen) -> None:
    path = write_seg(seen, BOTH, two(seen))
    dataset = pydicom.dcmread(path)
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.save_as(path)
    with pytest.raises(ScanError) as caught:
        seen.given()
    assert caught.value.code == "mask_other_frame"


def test_a_mask_of_the_series_itself_goes_before_one_in_its_frame(tmp_path: Path, chest: Any) -> None:
    seen = Seen(tmp_path, chest)
    other = Seen(tmp_path / "elsewhere", chest, series="2")
    seen.ingested()
    write_seg(seen, BOTH, two(seen), name="own.dcm")
    write_seg(seen, BOTH, two(seen)[..., ::-1], source=other.slices, name="other.dcm")
    same_as_lungs(seen.given(), seen)


def test_pseudonyms_hide_the_series_but_not_from_its_mask(tmp_path: Path, chest: Any) -> None:
    seen = Seen(tmp_path, chest)
    Seen(tmp_path, chest, series="2")
    seen.ingested(pseudonyms="key")
    assert SERIES["1"] not in read_cohort(seen.root)["series_uid"].to_list()
    write_seg(seen, BOTH, two(seen))
    same_as_lungs(seen.given(), seen)
    with pytest.raises(ScanError) as caught:  # the other series lies in the same frame of reference, but is not named
        seen.given(scan=1)
    assert caught.value.code == "mask_missing"
    told = (seen.root / INDEX).read_text()
    assert SERIES["1"] not in told
    assert FRAME not in told


def test_what_was_found_is_kept_and_looked_up_again_only_where_a_file_changed(seen: Seen) -> None:
    path = write_seg(seen, BOTH, two(seen))
    cohort = cohort_key(seen.root)
    first = find_masks(seen.root / "given", BOTH, folder=seen.root, cohort=cohort)
    assert find_masks(seen.root / "given", BOTH, folder=seen.root, cohort=cohort) == first
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert find_masks(seen.root / "given", BOTH, folder=seen.root, cohort=cohort).keys != first.keys


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def changed(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return spoil


def lone_position(dataset: Any, value: list[float]) -> None:
    dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient = value


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (cut, "mask_unreadable"),
        (changed(lambda d: setattr(d, "NumberOfFrames", 10**6)), "mask_unreadable"),
        (changed(lambda d: (setattr(d, "Rows", 60000), setattr(d, "Columns", 60000))), "mask_unreadable"),
        (changed(lambda d: setattr(d, "SegmentationType", "CURVED")), "mask_unreadable"),
        (changed(lambda d: delattr(d, "SegmentSequence")), "mask_unreadable"),
        (changed(lambda d: delattr(d, "PixelData")), "mask_unreadable"),
        (changed(lambda d: delattr(d, "SharedFunctionalGroupsSequence")), "mask_position"),
        (changed(lambda d: lone_position(d, [-100.0, -60.0, 51.7])), "mask_frames_uneven"),
        (changed(lambda d: lone_position(d, [-100.0, -20.0, 65.0])), "mask_frames_uneven"),
        (changed(lambda d: lone_position(d, [-100.0, -60.0, 5e9])), "mask_frames_uneven"),
    ],
)
def test_a_damaged_segmentation_is_a_reason(seen: Seen, spoil: Callable[[Path], None], code: str) -> None:
    spoil(write_seg(seen, BOTH, two(seen), omit_empty_frames=False))
    with pytest.raises(ScanError) as caught:
        seen.given()
    assert caught.value.code == code


def test_any_flipped_byte_gives_masks_or_a_reason(seen: Seen) -> None:
    path = write_seg(seen, BOTH, two(seen))
    good, random = path.read_bytes(), np.random.default_rng(3)
    headers = len(good) - len(pydicom.dcmread(path).PixelData)
    codes_seen = set()
    for place in random.integers(300, headers, 120):
        path.write_bytes(good[:place] + bytes([int(random.integers(256))]) + good[place + 1 :])
        try:
            seen.given()
        except ScanError as error:
            codes_seen.add(error.code)
        except MissingError:  # it no longer says that it is a segmentation
            continue
    assert codes_seen


# RTSTRUCT


def write_rtstruct(
    seen: Seen, rois: Mapping[str, list[tuple[str, np.ndarray]]], *, name: str = "rt.dcm", frame: str = FRAME
) -> Path:
    """Write regions, each a list of contours: their type and points (x, y, z in mm)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = RTStructureSetStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID, "RTSTRUCT"
    series, study, frames = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = SERIES["1"]
    study.RTReferencedSeriesSequence = [series]
    frames.FrameOfReferenceUID, frames.RTReferencedStudySequence = frame, [study]
    one.ReferencedFrameOfReferenceSequence = [frames]
    one.StructureSetROISequence, one.ROIContourSequence = [], []
    for number, (roi, contours) in enumerate(rois.items(), start=1):
        named, drawn = Dataset(), Dataset()
        named.ROINumber, named.ROIName, named.ReferencedFrameOfReferenceUID = number, roi, frame
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for kind, points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{v:.4f}" for v in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        one.StructureSetROISequence.append(named)
        one.ROIContourSequence.append(drawn)
    path = seen.root / "given" / name
    path.parent.mkdir(exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


def box(y: tuple[float, float], x: tuple[float, float], slice_: float) -> tuple[str, np.ndarray]:
    """Return an outline through the voxel edges around rows and columns, the last ones not included."""
    corners = [(y[0], x[0]), (y[0], x[1]), (y[1], x[1]), (y[1], x[0])]
    z = 50.0 + STEP_MM * slice_
    return "CLOSED_PLANAR", np.array([[-100 + (c - 0.5) * PIXEL_MM[1], -60 + (r - 0.5) * PIXEL_MM[0], z] for r, c in corners])


def test_contours_are_filled_and_inner_ones_are_holes(seen: Seen) -> None:
    slices = range(4, 9)
    rois = {
        "Lung_L": [c for n in slices for c in (box((5, 15), (20, 30), n), box((8, 10), (22, 27), n))],
        "lung right": [box((5, 15), (5, 10), n) for n in slices],
    }
    write_rtstruct(seen, rois)
    given = seen.given()
    truth = np.zeros(seen.left.shape, dtype=np.uint8)
    truth[4:9, 5:15, 20:30] = 1
    truth[4:9, 8:10, 22:27] = 0
    truth[4:9, 5:15, 5:10] = 2
    np.testing.assert_array_equal(given.masks.voxels, truth)
    assert given.notes == ()


def test_a_contour_that_is_there_twice_is_no_hole_and_open_ones_are_left_out(seen: Seen) -> None:
    line = ("OPEN_PLANAR", box((2, 18), (2, 30), 5)[1])
    point = ("POINT", np.array([[0.0, 0.0, 75.0]]))
    write_rtstruct(seen, {"heart": [box((5, 15), (20, 30), 5), box((5, 15), (20, 30), 5), line, point]})
    given = seen.given(("heart",))
    assert given.masks.voxels.sum() == 100
    assert given.notes == ("contours_left_out",)
    write_rtstruct(seen, {"heart": [line], "liver": [box((1, 2), (1, 2), 5)]})
    with pytest.raises(ScanError) as caught:
        seen.given(("heart",))
    assert caught.value.code == "mask_without_structure"


def test_contours_on_every_other_slice_reach_to_the_slices_between(seen: Seen) -> None:
    write_rtstruct(seen, {"heart": [box((5, 15), (20, 30), n) for n in (4, 6, 8)]})
    given = seen.given(("heart",))
    assert given.masks.voxels.sum(axis=(1, 2)).tolist()[3:11] == [0, 100, 100, 100, 100, 100, 100, 0]
    assert given.notes == ("contours_between_slices",)


def test_a_gap_in_a_structure_stays_a_gap(seen: Seen) -> None:
    write_rtstruct(seen, {"bowel": [box((5, 15), (20, 30), n) for n in (4, 5, 10, 11)]})
    assert np.flatnonzero(seen.given(("bowel",)).masks.voxels.any(axis=(1, 2))).tolist() == [4, 5, 10, 11]


def test_contours_beyond_the_scan_are_cut_off(seen: Seen) -> None:
    write_rtstruct(seen, {"bowel": [box((-50, 15), (20, 500), n) for n in (-3, 4, 5, 6, 400)]})
    voxels = seen.given(("bowel",)).masks.voxels
    assert voxels[4].sum() == 15 * (40 - 20)


def test_oblique_contours_and_another_frame_are_reasons(seen: Seen) -> None:
    kind, points = box((5, 15), (20, 30), 5)
    oblique = points + np.array([0, 0, 1]) * (points[:, 1:2] + 40) * 0.5
    write_rtstruct(seen, {"heart": [(kind, oblique)]})
    with pytest.raises(ScanError) as caught:
        seen.given(("heart",))
    assert caught.value.code == "contours_oblique"
    write_rtstruct(seen, {"heart": [(kind, points)]}, frame=generate_uid())
    with pytest.raises(ScanError) as caught:
        seen.given(("heart",))
    assert caught.value.code == "mask_other_frame"


def test_a_damaged_structure_set_is_a_reason(seen: Seen) -> None:
    path = write_rtstruct(seen, {"heart": [box((5, 15), (20, 30), 5)]})
    good = path.read_bytes()
    for spoiled in (good.replace(b"75.0000", b"  nan  "), good[: len(good) * 3 // 4]):
        path.write_bytes(spoiled)
        with pytest.raises(ScanError) as caught:
            seen.given(("heart",))
        assert caught.value.code in {"mask_unreadable", "mask_without_structure"}


def test_any_flipped_byte_of_a_structure_set_gives_masks_or_a_reason(seen: Seen) -> None:
    path = write_rtstruct(seen, {"heart": [box((5, 15), (20, 30), 5), box((5, 15), (20, 30), 6)]})
    good, random = path.read_bytes(), np.random.default_rng(4)
    codes_seen = set()
    for place in random.integers(300, len(good), 120):
        path.write_bytes(good[:place] + bytes([int(random.integers(256))]) + good[place + 1 :])
        try:
            seen.given(("heart",))
        except ScanError as error:
            codes_seen.add(error.code)
        except MissingError:  # it no longer says that it is a structure set
            continue
    assert codes_seen


def test_a_structure_set_and_a_segmentation_of_one_scan_join_unless_they_hold_the_same(seen: Seen) -> None:
    write_seg(seen, BOTH, two(seen))
    write_rtstruct(seen, {"heart": [box((0, 2), (0, 2), 5)]})
    given = seen.given((*BOTH, "heart"))
    same_as_lungs(given, seen)
    assert (given.masks.voxels == 3).sum() == 4
    write_rtstruct(seen, {"heart": [box((0, 2), (0, 2), 5)], "LUNG LEFT": [box((0, 2), (0, 2), 5)]})
    with pytest.raises(ScanError) as caught:
        seen.given((*BOTH, "heart"))
    assert caught.value.code == "mask_ambiguous"


def test_the_cohort_is_one_of_dicom(seen: Seen) -> None:
    assert read_cohort(seen.root).select(pl.col("format").first()).item() == "dicom"
