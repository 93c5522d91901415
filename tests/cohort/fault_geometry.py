"""Faults 1 to 14: slices that are missing, doubled, elsewhere, tilted, or placed by something else than their position."""

import copy
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from .fault_scans import (
    MARKER,
    SHAPE,
    STEP_MM,
    Expected,
    clean,
    digest,
    kept,
    place_mm,
    put_marker,
    save,
    set_aside,
    set_stored,
    stored,
    trunk_hu,
    uid,
)


def again(slices: list[FileDataset], n: int, name: str, *, new_uid: bool = True) -> FileDataset:
    """Return a copy of a slice, to be written beside it."""
    twin = copy.deepcopy(slices[n])
    twin.filename = name
    if new_uid:
        twin.SOPInstanceUID = twin.file_meta.MediaStorageSOPInstanceUID = uid(slices[n].SOPInstanceUID, name)
    return twin


def fault_01_missing_slice(folder: Path) -> Expected:
    slices = clean(folder)
    del slices[6]
    save(folder, slices)
    return set_aside("missing_slice")


def fault_01_missing_slice_interpolated(folder: Path) -> Expected:
    slices = clean(folder)
    del slices[6]
    save(folder, slices)
    at = place_mm(slices, (MARKER[0] - 1, *MARKER[1:]))
    return kept(slices, None, "slice_interpolated", may=("thick_slices",), marker_mm=at)  # the gap was 10 mm wide


def fault_02_slice_twice_equal(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder, [*slices, again(slices, 6, "twin.dcm")])
    return kept(slices, trunk_hu(folder.name), "duplicates_dropped")


def fault_02_slice_twice_different(folder: Path) -> Expected:
    slices = clean(folder)
    twin = again(slices, 6, "twin.dcm")
    set_stored(twin, np.where(stored(twin) > 1000, stored(twin) + 3, stored(twin)))
    save(folder, [*slices, twin])
    return set_aside("conflicting_slices")


def fault_03_same_uid_other_bytes(folder: Path) -> Expected:
    slices = clean(folder)
    twin = again(slices, 6, "twin.dcm", new_uid=False)
    set_stored(twin, stored(twin)[::-1])
    save(folder, [*slices, twin])
    return set_aside("conflicting_slices|repeated_uid")


def fault_03_same_uid_elsewhere(folder: Path) -> Expected:
    slices = clean(folder)
    slices[9].SOPInstanceUID = slices[9].file_meta.MediaStorageSOPInstanceUID = slices[4].SOPInstanceUID
    save(folder, slices)
    return set_aside("repeated_uid")


def fault_04_localizer_inside(folder: Path) -> Expected:
    slices = clean(folder)
    scout = again(slices, 6, "scout.dcm")
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    set_stored(scout, np.full((30, 60), 1000))
    save(folder, [*slices, scout])
    return kept(slices, trunk_hu(folder.name), "localizers_dropped")


def fault_04_localizer_by_type(folder: Path) -> Expected:
    slices = clean(folder)
    scout = again(slices, 6, "scout.dcm")
    scout.ImageType, scout.ImagePositionPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [0, 0, 0]
    save(folder, [*slices, scout])
    return kept(slices, trunk_hu(folder.name), "localizers_dropped")


def two_phases(folder: Path, first: dict[str, object], second: dict[str, object]) -> Expected:
    """Write two passes over the same places under one series UID; a mixture of both has neither's voxels."""
    early = trunk_hu(folder.name)
    late = np.where((early > 0) & (early < 200), early + 60, early).astype(np.int16)
    put_marker(late, value=950)
    slices = []
    for number, (hu, tags) in enumerate(((early, first), (late, second))):
        phase = clean(folder, hu)
        for n, one in enumerate(phase):
            one.filename = f"{number}_{n:03d}.dcm"
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid(folder.name, number, n)
            for name, value in tags.items():
                setattr(one, name, value)
                if value == "":
                    delattr(one, name)
        slices += phase
    save(folder, slices)
    return kept(slices, None, unchosen=1, marker_hu=(900, 950), voxels_sha256=(digest(early), digest(late)))


def fault_05_two_phases_by_number(folder: Path) -> Expected:
    return two_phases(folder, {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2})


def fault_05_two_phases_by_time(folder: Path) -> Expected:
    return two_phases(folder, {"AcquisitionTime": "101500.00"}, {"AcquisitionTime": "101630.50"})


def fault_05_two_phases_by_content_time(folder: Path) -> Expected:
    gone: dict[str, object] = {"AcquisitionNumber": "", "AcquisitionTime": ""}
    return two_phases(folder, {**gone, "ContentTime": "101500"}, {**gone, "ContentTime": "101630"})


def fault_05_two_phases_told_apart_by_nothing(folder: Path) -> Expected:
    two_phases(folder, {}, {})
    return set_aside("conflicting_slices")


def tilted(folder: Path, degrees: float) -> Expected:
    angle = np.radians(degrees)
    plane = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
    slices = clean(folder, orientation=plane, along=(0, 0, 1))
    save(folder, slices)
    return kept(slices, None, "gantry_tilt", spacing_z_mm=STEP_MM * float(np.cos(angle)), tolerance_hu=150)


def fault_06_gantry_tilt(folder: Path) -> Expected:
    return tilted(folder, 15)


def fault_06_gantry_tilt_other_way(folder: Path) -> Expected:
    return tilted(folder, -20)


def at_heights(folder: Path, heights_mm: list[float]) -> list[FileDataset]:
    slices = clean(folder, trunk_hu(folder.name, (len(heights_mm), *SHAPE[1:])))
    for one, z in zip(slices, heights_mm, strict=True):
        one.ImagePositionPatient = [*one.ImagePositionPatient[:2], round(z, 4)]
        one.SliceLocation = round(z, 4)
    return slices


def fault_07_spacing_changes(folder: Path) -> Expected:
    slices = at_heights(folder, [5.0 * n for n in range(9)] + [40 + 2.5 * n for n in range(1, 19)])
    save(folder, slices)
    return kept(slices, None, "spacing_varies", spacing_z_mm=2.5, tolerance_hu=150)


def fault_07_spacing_changes_after_the_marker(folder: Path) -> Expected:
    slices = at_heights(folder, [2.5 * n for n in range(9)] + [20 + 5.0 * n for n in range(1, 15)])
    save(folder, slices)
    return kept(slices, None, "spacing_varies", spacing_z_mm=2.5, tolerance_hu=150)


def fault_07_uneven_everywhere(folder: Path) -> Expected:
    gaps = np.random.default_rng(7).uniform(2, 8, SHAPE[0])
    save(folder, at_heights(folder, [float(z) for z in np.cumsum(gaps)]))
    return set_aside("uneven_slices")


def fault_08_position_jitter(folder: Path) -> Expected:
    slices = clean(folder)
    draw = np.random.default_rng(8)
    for one in slices:
        one.ImagePositionPatient = [round(float(v + draw.uniform(-1e-3, 1e-3)), 5) for v in one.ImagePositionPatient]
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


def without_positions(folder: Path) -> list[FileDataset]:
    slices = clean(folder)
    for one in slices:
        del one.ImagePositionPatient, one.ImageOrientationPatient
    save(folder, slices)
    return slices


def fault_09_no_position(folder: Path) -> Expected:
    without_positions(folder)
    return set_aside("no_position")


def fault_09_no_position_by_slice_location(folder: Path) -> Expected:
    without_positions(folder)
    return kept(clean(folder), trunk_hu(folder.name), "position_assumed", marker_mm=None)


def fault_10_thickness_differs(folder: Path) -> Expected:
    slices = clean(folder)
    for one in slices:
        one.SliceThickness = 1.25
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), may=("thickness_differs",))


def fault_11_one_slice_of_other_spacing(folder: Path) -> Expected:
    slices = clean(folder)
    slices[6].PixelSpacing = [6.0, 6.0]
    save(folder, slices)
    return set_aside("mixed_spacing")


def fault_12_one_slice_of_other_size(folder: Path) -> Expected:
    slices = clean(folder)
    set_stored(slices[6], stored(slices[6])[:-4])
    save(folder, slices)
    return set_aside("mixed_size")


def fault_13_instance_numbers_reversed(folder: Path) -> Expected:
    slices = clean(folder)
    for n, one in enumerate(slices):
        one.InstanceNumber, one.filename = SHAPE[0] - n, f"{SHAPE[0] - n:03d}.dcm"
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


def fault_13_instance_numbers_absent(folder: Path) -> Expected:
    slices = clean(folder)
    for n, one in enumerate(slices):
        del one.InstanceNumber
        one.filename = f"{n * 7 % SHAPE[0]:03d}.dcm"  # 7 and 18 share no factor: every name once, in no order
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


def fault_13_instance_numbers_repeated(folder: Path) -> Expected:
    slices = clean(folder)
    for n, one in enumerate(slices):
        one.InstanceNumber = n % 3
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


def lying(folder: Path, orientation: tuple[float, ...], position: str, *codes: str) -> Expected:
    slices = clean(folder, orientation=orientation)
    for one in slices:
        one.PatientPosition = position
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), *codes)


def fault_14_feet_first(folder: Path) -> Expected:
    return lying(folder, (-1, 0, 0, 0, 1, 0), "FFS")


def fault_14_feet_first_said_wrongly(folder: Path) -> Expected:
    return lying(folder, (1, 0, 0, 0, 1, 0), "FFP")


def fault_14_prone(folder: Path) -> Expected:
    return lying(folder, (-1, 0, 0, 0, -1, 0), "HFP")


def fault_14_on_the_side(folder: Path) -> Expected:
    return lying(folder, (0, 1, 0, -1, 0, 0), "HFDR")


def fault_14_oblique(folder: Path) -> Expected:
    angle = np.radians(18)
    return lying(folder, (1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))), "HFS")


def fault_14_coronal(folder: Path) -> Expected:
    return lying(folder, (1, 0, 0, 0, 0, -1), "HFS", "not_axial")


GEOMETRY = (
    fault_01_missing_slice,
    fault_02_slice_twice_equal,
    fault_02_slice_twice_different,
    fault_03_same_uid_other_bytes,
    fault_03_same_uid_elsewhere,
    fault_04_localizer_inside,
    fault_04_localizer_by_type,
    fault_05_two_phases_by_number,
    fault_05_two_phases_by_time,
    fault_05_two_phases_by_content_time,
    fault_05_two_phases_told_apart_by_nothing,
    fault_06_gantry_tilt,
    fault_06_gantry_tilt_other_way,
    fault_07_spacing_changes,
    fault_07_spacing_changes_after_the_marker,
    fault_07_uneven_everywhere,
    fault_08_position_jitter,
    fault_09_no_position,
    fault_10_thickness_differs,
    fault_11_one_slice_of_other_spacing,
    fault_12_one_slice_of_other_size,
    fault_13_instance_numbers_reversed,
    fault_13_instance_numbers_absent,
    fault_13_instance_numbers_repeated,
    fault_14_feet_first,
    fault_14_feet_first_said_wrongly,
    fault_14_prone,
    fault_14_on_the_side,
    fault_14_oblique,
    fault_14_coronal,
)
GEOMETRY_WITH_SETTINGS = (
    (fault_01_missing_slice_interpolated, 'missing_slice = "interpolate"'),
    (fault_09_no_position_by_slice_location, 'no_position = "slice_location"'),
)
