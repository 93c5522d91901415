"""Enhanced and Legacy Converted Enhanced CT: every frame a slice with a place of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless

from espalier.cohort.dicom import index_folder
from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_path, read_scan
from espalier.cohort.table import read_cohort, read_series_table
from espalier.errors import ScanError
from espalier.geometry import world_mm

from .conftest import AXIAL, BRIGHT, ORIGIN_MM, PIXEL_MM, STEP_MM, blank, body_hu, uid

ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY = "1.2.840.10008.5.1.4.1.1.2.2"
Change = Callable[[Dataset, int], Any]


def group(**tags: Any) -> list[Dataset]:
    dataset = Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return [dataset]


def write_frames(
    path: Path,
    *,
    kind: str = ENHANCED,
    order: list[int] | None = None,
    change: Change | None = None,
    syntax: str = "",
    passes: int = 1,
) -> Path:
    hu = np.concatenate([body_hu()] * passes)
    places = [n % len(body_hu()) for n in range(len(hu))]
    order = list(range(len(hu))) if order is None else order
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = blank(path, uid(path.name))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = kind
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "P1", uid("S"), uid("T")
    del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType, dataset.ConvolutionKernel
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(order), *hu.shape[1:]
    dataset.SharedFunctionalGroupsSequence = group(
        PixelMeasuresSequence=group(PixelSpacing=list(PIXEL_MM), SliceThickness=STEP_MM),
        PlaneOrientationSequence=group(ImageOrientationPatient=list(AXIAL)),
        PixelValueTransformationSequence=group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"),
        CTReconstructionSequence=group(ConvolutionKernel="Br40"),
    )
    frames = []
    for n in order:
        position = [ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + STEP_MM * places[n]]
        (frame,) = group(
            PlanePositionSequence=group(ImagePositionPatient=position),
            FrameContentSequence=group(StackID="1", InStackPositionNumber=n + 1, TemporalPositionIndex=n // len(body_hu()) + 1),
        )
        if change:
            change(frame, n)
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.PixelData = (hu[order] + 1024).astype(np.uint16).tobytes()
    if syntax:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("kind", [ENHANCED, LEGACY])
@pytest.mark.parametrize("syntax", ["", RLELossless])
def test_frames_are_put_in_order_by_their_own_positions(tmp_path: Path, kind: str, syntax: str) -> None:
    order = [int(n) for n in np.random.default_rng(0).permutation(14)]
    write_frames(tmp_path / "scans" / "a.dcm", kind=kind, order=order, syntax=syntax)
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert (row["kernel"], row["slice_mm"], row["files"], row["notes"]) == ("Br40", STEP_MM, ["a.dcm"], ["short_coverage"])
    volume = read_scan(row, folder=tmp_path)
    assert np.array_equal(volume.voxels, body_hu())
    place = np.add(ORIGIN_MM, (BRIGHT[2] * PIXEL_MM[1], BRIGHT[1] * PIXEL_MM[0], BRIGHT[0] * STEP_MM))
    assert world_mm(volume.affine, BRIGHT) == pytest.approx(place)


def test_a_frame_s_own_rescale_goes_before_the_shared_one(tmp_path: Path) -> None:
    def own(frame: Dataset, n: int) -> None:
        if n == 3:
            frame.PixelValueTransformationSequence = group(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="HU")

    write_frames(tmp_path / "a.dcm", change=own)
    voxels = read_path(tmp_path).voxels
    assert np.array_equal(voxels[3], body_hu()[3] + 24)
    assert np.array_equal(voxels[4], body_hu()[4])


def test_two_time_points_in_one_file_are_two_series(tmp_path: Path) -> None:
    def later(frame: Dataset, n: int) -> None:
        if n >= 14:
            frame.PixelValueTransformationSequence = group(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="HU")

    write_frames(tmp_path / "scans" / "a.dcm", passes=2, change=later)
    ingest(CohortOptions(sources=("scans",), series="all"), folder=tmp_path)
    assert read_series_table(tmp_path)["slices"].to_list() == [14, 14]
    first, second = (read_scan(row, folder=tmp_path).voxels for row in read_cohort(tmp_path).to_dicts())
    low, high = sorted((first, second), key=lambda voxels: float(voxels.mean()))
    assert np.array_equal(low, body_hu())
    assert np.array_equal(high, body_hu() + 24)


def test_a_frame_that_does_not_say_where_it_lies_is_refused(tmp_path: Path) -> None:
    def lost(frame: Dataset, n: int) -> None:
        if n == 5:
            del frame.PlanePositionSequence

    write_frames(tmp_path / "a.dcm", change=lost)
    assert [s.problem for s in index_folder(tmp_path)] == ["no_position"]
    with pytest.raises(ScanError) as caught:
        read_path(tmp_path)
    assert caught.value.code == "no_position"


def test_fewer_descriptions_than_frames_make_the_file_unreadable(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "scans" / "a.dcm", order=list(range(13)))

    dataset = dcmread(path)
    dataset.NumberOfFrames = 14
    dataset.save_as(path)
    write_frames(tmp_path / "scans" / "b.dcm")
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    assert "unreadable_file" in (tmp_path / "set_aside.csv").read_text()
    assert read_cohort(tmp_path).height == 1


def test_a_frame_s_own_place_goes_before_a_shared_one(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.dcm")
    dataset = dcmread(path)
    dataset.SharedFunctionalGroupsSequence[0].PlanePositionSequence = group(ImagePositionPatient=[0, 0, 0])
    dataset.save_as(path)
    assert [s.problem for s in index_folder(tmp_path)] == [""]
    assert np.array_equal(read_path(tmp_path).voxels, body_hu())
