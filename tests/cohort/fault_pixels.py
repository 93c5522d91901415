"""Faults 15 to 22, 40 and 41: numbers that are no HU, HU that are odd but right, and pixels that are no CT."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import SecondaryCaptureImageStorage, XRayRadiationDoseSRStorage

from .fault_scans import SHAPE, Expected, clean, kept, put_marker, save, set_aside, set_stored, stored, trunk_hu

MULTI_FRAME_SC = "1.2.840.10008.5.1.4.1.1.7.4"


def changed(folder: Path, change: Callable[[FileDataset], object], hu: np.ndarray | None = None) -> list[FileDataset]:
    slices = clean(folder, hu)
    for one in slices:
        change(one)
    save(folder, slices)
    return slices


def unscaled(one: FileDataset) -> None:
    del one.RescaleSlope, one.RescaleIntercept, one.RescaleType


def signed(one: FileDataset) -> None:
    """Store the HU themselves, as signed numbers."""
    hu = stored(one) - 1024
    one.PixelRepresentation, one.RescaleIntercept = 1, 0
    set_stored(one, hu)


def fault_15_no_rescale(folder: Path) -> Expected:
    changed(folder, unscaled)
    return set_aside("not_hu")


def fault_15_no_rescale_but_plausible(folder: Path) -> Expected:
    slices = changed(folder, lambda one: (signed(one), unscaled(one)))
    return kept(slices, trunk_hu(folder.name), "no_rescale")


def fault_16_rescale_varies(folder: Path) -> Expected:
    slices = clean(folder)
    for n, one in enumerate(slices):
        if n % 2:
            one.RescaleIntercept = -2048
            set_stored(one, stored(one) + 1024)
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), "rescale_varies")


def fault_17_rescale_type_unspecified(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        one.RescaleIntercept, one.RescaleType = 0, "US"

    changed(folder, change)
    return set_aside("not_hu")


def fault_17_stretched_to_twelve_bits(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        set_stored(one, np.clip((stored(one) - 24) * 4095 // 1900, 0, 4095))
        one.RescaleIntercept = 0

    changed(folder, change)
    return set_aside("not_hu")


def fault_17_rescaled_twice(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        signed(one)
        one.RescaleIntercept = -1024

    changed(folder, change)
    return set_aside("not_hu|rescaled_twice")


def fault_17_window_burned_in(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        set_stored(one, np.clip((stored(one) - 824) * 255 // 400, 0, 255))
        one.RescaleIntercept, one.RescaleType = 0, "US"

    changed(folder, change)
    return set_aside("not_hu")


def padded(folder: Path, value: int, *, told: bool) -> Expected:
    """Write `value` HU outside the scanner's round field of view, as some makers do."""
    hu = trunk_hu(folder.name)
    y, x = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    outside = np.broadcast_to(y**2 + x**2 > 1.15, SHAPE)
    slices = clean(folder, np.where(outside, value, hu))
    for one in slices:
        one.PixelRepresentation = 1
        set_stored(one, np.frombuffer(one.PixelData, np.uint16).astype(np.int16).reshape(SHAPE[1:]))
        if told:
            one.add_new("PixelPaddingValue", "SS", value + 1024)
    save(folder, slices)
    return kept(slices, np.where(outside, -1024, hu), "padding_replaced")


def fault_18_padding_of_2000(folder: Path) -> Expected:
    return padded(folder, -2000, told=True)


def fault_18_padding_of_3024(folder: Path) -> Expected:
    return padded(folder, -3024, told=False)


def fault_19_signed_said_unsigned(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        signed(one)
        one.PixelRepresentation = 0

    changed(folder, change)
    return set_aside("not_hu", may=("signed_as_unsigned",))


def fault_20_rubbish_in_high_bits(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        one.BitsStored, one.HighBit = 12, 11
        set_stored(one, stored(one) | 0x8000 | (stored(one) % 5 << 12))

    slices = changed(folder, change)
    return kept(slices, trunk_hu(folder.name), may=("high_bits_cleared",))


def fault_20_overlay_in_high_bits(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        one.BitsStored, one.HighBit = 12, 11
        one.add_new(0x60000010, "US", one.Rows)
        one.add_new(0x60000011, "US", one.Columns)
        one.add_new(0x60000040, "CS", "G")
        one.add_new(0x60000050, "SS", [1, 1])
        one.add_new(0x60000100, "US", 16)
        one.add_new(0x60000102, "US", 12)
        values = stored(one)
        values[10:20, 10:20] |= 0x1000
        set_stored(one, values)

    slices = changed(folder, change)
    return kept(slices, trunk_hu(folder.name), may=("high_bits_cleared",))


def fault_21_monochrome1(folder: Path) -> Expected:
    slices = changed(folder, lambda one: setattr(one, "PhotometricInterpretation", "MONOCHROME1"))
    return kept(slices, trunk_hu(folder.name), "monochrome1")


def coloured(one: FileDataset) -> None:
    one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "RGB", 0
    one.BitsAllocated, one.BitsStored, one.HighBit = 8, 8, 7
    one.PixelData = bytes(3 * one.Rows * one.Columns)
    unscaled(one)


def fault_22_colour_under_the_class_of_ct(folder: Path) -> Expected:
    changed(folder, coloured)
    return set_aside("colour")


def beside(folder: Path, change: Callable[[FileDataset], object]) -> Expected:
    """Write a sound series, and one object of another class beside it."""
    slices = clean(folder)
    other = clean(folder, series="9")[0]
    change(other)
    other.filename = "other.dcm"
    save(folder, [*slices, other])
    return kept(slices, trunk_hu(folder.name), others=1)


def of_class(one: FileDataset, kind: str) -> None:
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = kind


def fault_22_secondary_capture(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        of_class(one, SecondaryCaptureImageStorage)
        coloured(one)
        del one.ImagePositionPatient, one.ImageOrientationPatient

    return beside(folder, change)


def fault_22_dose_page(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        of_class(one, MULTI_FRAME_SC)
        one.Modality, one.NumberOfFrames = "OT", 1

    return beside(folder, change)


def fault_22_dose_report(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        of_class(one, XRayRadiationDoseSRStorage)
        one.Modality = "SR"
        del one.PixelData, one.Rows, one.Columns
        one.ContentSequence = [Dataset()]

    return beside(folder, change)


def fault_40_constant(folder: Path) -> Expected:
    save(folder, clean(folder, np.full(SHAPE, -1000)))
    return set_aside("constant_volume")


def fault_40_zeros(folder: Path) -> Expected:
    save(folder, clean(folder, np.zeros(SHAPE)))
    return set_aside("constant_volume")


def fault_40_nothing_but_air(folder: Path) -> Expected:
    save(folder, clean(folder, np.random.default_rng(40).normal(-1000, 8, SHAPE).clip(-1024, None)))
    return set_aside("constant_volume|not_hu")


def fault_41_metal(folder: Path) -> Expected:
    hu = trunk_hu(folder.name)
    put_marker(hu, value=14000)
    slices = clean(folder, hu)
    save(folder, slices)
    return kept(slices, hu, marker_hu=(14000,), may=("metal",))


def fault_68_names_in_tags(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        one.PatientName, one.ImageComments, one.PatientBirthDate = "Canary^Ada", "Canary called about her scan", "19590301"
        one.BurnedInAnnotation, one.OtherPatientIDs = "YES", "CANARY-1"
        block = one.private_block(0x0019, "CANARY", create=True)
        block.add_new(1, "LO", "Canary's private note")

    slices = changed(folder, change)
    return kept(slices, trunk_hu(folder.name), may=("burned_in",))


def fault_70_dates_in_the_future(folder: Path) -> Expected:
    def change(one: FileDataset) -> None:
        one.StudyDate = one.AcquisitionDate = one.ContentDate = "21991231"
        one.TimezoneOffsetFromUTC = "+0200"

    slices = changed(folder, change)
    return kept(slices, trunk_hu(folder.name), may=("date_in_future", "odd_date"))


def fault_70_clock_set_back(folder: Path) -> Expected:
    """Cross the hour that comes twice when summer time ends, and write one time that no clock shows."""
    slices = clean(folder)
    for n, one in enumerate(slices):
        one.StudyDate = one.AcquisitionDate = "20201025"
        one.AcquisitionTime = one.ContentTime = f"0{2 if n > 8 else 3}{59 - n if n < 9 else n:02d}60"
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), may=("date_in_future", "odd_date"))


def fault_69_one_scan_of_two_patients(folder: Path) -> Expected:
    """Write one patient's scan under two ids, with UIDs, slices' names and noise of their own."""
    hu = trunk_hu(folder.name)
    for who in ("a", "b"):
        slices = clean(folder / f"{folder.name}-{who}", hu)
        save(folder / who, slices)
    return kept(slices, hu, "near_duplicate|duplicate", scans=2)


PIXELS = (
    fault_15_no_rescale,
    fault_15_no_rescale_but_plausible,
    fault_16_rescale_varies,
    fault_17_rescale_type_unspecified,
    fault_17_stretched_to_twelve_bits,
    fault_17_rescaled_twice,
    fault_17_window_burned_in,
    fault_18_padding_of_2000,
    fault_18_padding_of_3024,
    fault_19_signed_said_unsigned,
    fault_20_rubbish_in_high_bits,
    fault_20_overlay_in_high_bits,
    fault_21_monochrome1,
    fault_22_colour_under_the_class_of_ct,
    fault_22_secondary_capture,
    fault_22_dose_page,
    fault_22_dose_report,
    fault_40_constant,
    fault_40_zeros,
    fault_40_nothing_but_air,
    fault_41_metal,
    fault_68_names_in_tags,
    fault_69_one_scan_of_two_patients,
    fault_70_dates_in_the_future,
    fault_70_clock_set_back,
)
