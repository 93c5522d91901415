"""Fault 23: many slices in one file, which has three right forms and one that does not say where its slices lie."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from .fault_scans import Expected, clean, kept, save, set_aside, trunk_hu, uid


def group(**tags: object) -> Dataset:
    one = Dataset()
    for name, value in tags.items():
        setattr(one, name, value)
    return one


def framed(slices: Sequence[FileDataset], kind: str, order: Sequence[int]) -> FileDataset:
    """Return all slices as frames of one file, in the given order (DICOM PS3.3, A.38 and A.70)."""
    whole = copy.deepcopy(slices[0])
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = kind
    whole.SOPInstanceUID = whole.file_meta.MediaStorageSOPInstanceUID = uid(whole.SeriesInstanceUID, kind)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SliceLocation"):
        delattr(whole, name)
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType", "ConvolutionKernel", "KVP"):
        delattr(whole, name)
    first = slices[0]
    measures = group(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    rescale = group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    shared = group(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[group(ImageOrientationPatient=first.ImageOrientationPatient)],
        PixelValueTransformationSequence=[rescale],
        CTImageFrameTypeSequence=[group(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
        CTReconstructionSequence=[group(ConvolutionKernel="B30f")],
    )
    own = []
    for n in order:
        content = group(FrameAcquisitionNumber=1, StackID="1", InStackPositionNumber=n + 1)
        place = group(ImagePositionPatient=slices[n].ImagePositionPatient)
        own.append(group(FrameContentSequence=[content], PlanePositionSequence=[place]))
    whole.SharedFunctionalGroupsSequence, whole.PerFrameFunctionalGroupsSequence = [shared], own
    whole.NumberOfFrames, whole.filename = len(order), "whole.dcm"
    whole.PixelData = b"".join(slices[n].PixelData for n in order)
    return whole


def fault_23_enhanced(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder, [framed(slices, EnhancedCTImageStorage, range(len(slices)))])
    return kept(slices, trunk_hu(folder.name))


def fault_23_enhanced_frames_in_no_order(folder: Path) -> Expected:
    slices = clean(folder)
    order = [int(n) for n in np.random.default_rng(23).permutation(len(slices))]
    save(folder, [framed(slices, EnhancedCTImageStorage, order)])
    return kept(slices, trunk_hu(folder.name))


def fault_23_enhanced_rescaled_frame_by_frame(folder: Path) -> Expected:
    slices = clean(folder)
    whole = framed(slices, EnhancedCTImageStorage, range(len(slices)))
    del whole.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    planes = []
    for n, one in enumerate(whole.PerFrameFunctionalGroupsSequence):
        shift = 1024 * (n % 2)
        one.PixelValueTransformationSequence = [group(RescaleSlope=1, RescaleIntercept=-1024 - shift, RescaleType="HU")]
        planes.append((np.frombuffer(slices[n].PixelData, np.uint16) + np.uint16(shift)).tobytes())
    whole.PixelData = b"".join(planes)
    save(folder, [whole])
    return kept(slices, trunk_hu(folder.name), "rescale_varies")


def fault_23_enhanced_with_a_frame_missing(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder, [framed(slices, EnhancedCTImageStorage, [n for n in range(len(slices)) if n != 6])])
    return set_aside("missing_slice")


def fault_23_legacy_converted(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder, [framed(slices, LegacyConvertedEnhancedCTImageStorage, range(len(slices)))])
    return kept(slices, trunk_hu(folder.name))


def fault_23_legacy_converted_by_highdicom(folder: Path) -> Expected:
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    slices = clean(folder)
    for one in slices:
        one.PatientName, one.PatientBirthDate, one.StudyID, one.StudyTime = "Made^Up", "", "1", "101010"
        one.ReferringPhysicianName, one.SeriesDate, one.SeriesTime, one.ContentDate = "", "20200229", "101010", "20200229"
        one.InstanceCreationDate, one.InstanceCreationTime, one.BodyPartExamined = "20200229", "101010", "CHEST"
        one.FrameOfReferenceUID, one.PositionReferenceIndicator, one.Laterality = uid(folder.name, "frame"), "", ""
    paths = save(folder, slices)
    whole = LegacyConvertedEnhancedCTImage(
        [pydicom.dcmread(path) for path in paths],
        series_instance_uid=uid(folder.name, "converted"),
        series_number=2,
        sop_instance_uid=uid(folder.name, "converted", "whole"),
        instance_number=1,
    )
    for path in paths:
        path.unlink()
    whole.save_as(folder / "whole.dcm", enforce_file_format=True)
    return kept(slices, trunk_hu(folder.name), may=("no_rescale",))


def fault_23_frames_under_the_old_class(folder: Path) -> Expected:
    slices = clean(folder)
    slices[4].NumberOfFrames = 2
    slices[4].PixelData += slices[4].PixelData
    save(folder, slices)
    return set_aside("multi_frame")


FRAMES = (
    fault_23_enhanced,
    fault_23_enhanced_frames_in_no_order,
    fault_23_enhanced_rescaled_frame_by_frame,
    fault_23_enhanced_with_a_frame_missing,
    fault_23_legacy_converted,
    fault_23_legacy_converted_by_highdicom,
    fault_23_frames_under_the_old_class,
)
