"""Faults 24 to 28, 33 to 38, 58 and 66: damaged, foreign and nameless files, wrong owners, and scans of little use."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from .fault_geometry import again
from .fault_scans import SHAPE, STEP_MM, Expected, clean, kept, save, set_aside, set_stored, stored, trunk_hu, uid

NAMELESS = ("empty_uids", "uids_missing")
NO_META = ("no_preamble", "no_file_meta")


def fault_24_pixels_truncated(folder: Path) -> Expected:
    path = save(folder, clean(folder))[6]
    path.write_bytes(path.read_bytes()[:-1500])
    return set_aside("truncated_pixels")


def fault_24_pixels_missing(folder: Path) -> Expected:
    slices = clean(folder)
    del slices[6].PixelData
    save(folder, slices)
    return set_aside("truncated_pixels")


def fault_25_header_cut(folder: Path) -> Expected:
    path = save(folder, clean(folder))[6]
    path.write_bytes(path.read_bytes()[:600])
    return set_aside("unreadable_file", may=("missing_slice",))


def fault_26_length_beyond_the_end(folder: Path) -> Expected:
    path = save(folder, clean(folder))[6]
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\x08\x00\x70\x00LO")  # Manufacturer, behind the class and before the geometry
    raw[at + 6 : at + 8] = struct.pack("<H", 0xFFF0)
    path.write_bytes(raw)
    return set_aside("unreadable_file", may=("missing_slice",))


def fault_27_files_that_are_no_scans(folder: Path) -> Expected:
    slices = clean(folder)
    first = save(folder, slices)[0].read_bytes()
    (folder / "empty.dcm").touch()
    (folder / "notes.txt").write_text("words")
    (folder / "README").write_text("words without a suffix, and long enough for a preamble. " * 8)
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(64))
    (folder / "._1_000.dcm").write_bytes(first)
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    return kept(slices, trunk_hu(folder.name), others=6)


def fault_28_no_preamble(folder: Path) -> Expected:
    slices = clean(folder)
    for path in save(folder, slices):
        path.write_bytes(path.read_bytes()[132:])
    return kept(slices, trunk_hu(folder.name), may=NO_META)


def bare(folder: Path, *, implicit: bool) -> Expected:
    slices = clean(folder)
    folder.mkdir(parents=True)
    for one in slices:
        del one.file_meta
        one.save_as(folder / str(one.filename), implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        path = folder / str(one.filename)
        path.write_bytes(path.read_bytes().removeprefix(bytes(128) + b"DICM"))
    return kept(slices, trunk_hu(folder.name), may=NO_META)


def fault_28_no_file_meta(folder: Path) -> Expected:
    return bare(folder, implicit=False)


def fault_28_no_file_meta_and_implicit(folder: Path) -> Expected:
    return bare(folder, implicit=True)


def emptied(folder: Path, *names: str) -> Expected:
    slices = clean(folder)
    for one in slices:
        for name in names:
            setattr(one, name, "")
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), may=NAMELESS)


def fault_33_empty_uids(folder: Path) -> Expected:
    told = emptied(folder, "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return replace(told, ending="noted", codes=("grouped_by_folder",))


def fault_33_empty_patient(folder: Path) -> Expected:
    return emptied(folder, "PatientID")


def fault_33_empty_class(folder: Path) -> Expected:
    return emptied(folder, "SOPClassUID")


def fault_33_no_modality(folder: Path) -> Expected:
    slices = clean(folder)
    for one in slices:
        del one.Modality
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), may=NAMELESS)


def fault_34_uid_of_two_patients(folder: Path) -> Expected:
    for who in ("a", "b"):
        slices = clean(folder / f"{folder.name}-{who}")
        for one in slices:
            one.SeriesInstanceUID = uid(folder.name, "shared")
        save(folder / who, slices)
    return set_aside("uid_of_two_patients", aside=2)


def fault_35_too_large(folder: Path) -> Expected:
    """Claim 65535 rows and columns in each of 18 slices; nothing of that size may be taken."""
    slices = clean(folder)
    for one in slices:
        one.Rows = one.Columns = 65535
    save(folder, slices)
    return set_aside("too_large|truncated_pixels")


def fault_36_few_slices(folder: Path) -> Expected:
    save(folder, clean(folder, trunk_hu(folder.name, (6, *SHAPE[1:]))))
    return set_aside("too_few_slices")


def fault_36_far_apart(folder: Path) -> Expected:
    save(folder, clean(folder, step_mm=12.0))
    return set_aside("slices_too_thick")


def fault_36_thick(folder: Path) -> Expected:
    slices = clean(folder, step_mm=8.0)
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), "thick_slices", spacing_z_mm=8.0)


def fault_36_short(folder: Path) -> Expected:
    slices = clean(folder, step_mm=3.0)
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), "short_coverage", spacing_z_mm=3.0)


def head_hu() -> np.ndarray:
    """Return a head in voxels of 4 mm: scalp, a closed skull, brain with its ventricles, air around."""
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * 4.0 for n in (30, 60, 60)), indexing="ij")
    hu = np.full(z.shape, -1000.0)
    for shrink, value in ((0, 20), (5, 1100), (13, 35)):
        hu[(x / (78 - shrink)) ** 2 + (y / (95 - shrink)) ** 2 + ((z + 30) / (112 - shrink)) ** 2 < 1] = value
    hu[((np.abs(x) - 10) / 6) ** 2 + (y / 30) ** 2 + (z / 12) ** 2 < 1] = 8
    return np.rint(hu + np.random.default_rng(37).normal(0, 5, hu.shape)).clip(-1024, 3071)


def fault_37_head_in_a_study_of_the_chest(folder: Path) -> Expected:
    slices = clean(folder, head_hu(), step_mm=4.0)
    for one in slices:
        one.PixelSpacing = [4.0, 4.0]
    save(folder, slices)
    return set_aside("not_the_body_part")


def fault_37_chest_in_a_study_of_the_chest(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


def fault_38_two_kernels(folder: Path) -> Expected:
    hu = trunk_hu(folder.name)
    sharp = clean(folder, np.clip(hu + np.random.default_rng(38).normal(0, 60, SHAPE), -1024, None), series="1")
    for one in sharp:
        one.ConvolutionKernel = "B70f"
    soft = clean(folder, hu, series="2")
    save(folder, [*sharp, *soft])
    return kept(soft, hu, unchosen=1, kernel="B30f")


def fault_38_two_thicknesses(folder: Path) -> Expected:
    thin = clean(folder, series="2")
    thick = clean(folder, trunk_hu(folder.name)[::2], step_mm=2 * STEP_MM, series="1")
    save(folder, [*thick, *thin])
    return kept(thin, trunk_hu(folder.name), unchosen=1)


def fault_58_slice_that_may_not_be_read(folder: Path) -> Expected:
    save(folder, clean(folder))[6].chmod(0)
    return set_aside("unreadable_file", may=("missing_slice",))


def fault_58_folder_that_may_not_be_read(folder: Path) -> Expected:
    save(folder / "locked", clean(folder))
    (folder / "locked").chmod(0)
    return set_aside("unreadable_folder|unreadable_file")


def fault_58_loop_of_links(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder / "down", slices)
    (folder / "down" / "again").symlink_to("..")
    (folder / "down" / "round").symlink_to("round")
    (folder / "down" / "nowhere.dcm").symlink_to("gone.dcm")
    return kept(slices, trunk_hu(folder.name))


def fault_58_long_names(folder: Path) -> Expected:
    """Write names of 255 bytes, the most that file systems take, below folders that make the path longer than 600."""
    slices = clean(folder)
    for n, one in enumerate(slices):
        one.filename = f"{n:03d}{'x' * 248}.dcm"
    save(folder / ("y" * 255) / ("ü" * 120), slices)
    return kept(slices, trunk_hu(folder.name))


def named(folder: Path, patient: str) -> Expected:
    slices = clean(folder)
    for one in slices:
        one.SpecificCharacterSet, one.PatientID = "ISO_IR 192", patient
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


def fault_66_patient_id_that_climbs(folder: Path) -> Expected:
    return named(folder, "../../../climbed")


def fault_66_patient_id_that_is_a_path(folder: Path) -> Expected:
    return named(folder, "/etc/CON:1*?")


def fault_66_patient_id_right_to_left(folder: Path) -> Expected:
    return named(folder, "\u202eA\u0308 1")


def fault_67_patient_id_as_a_formula(folder: Path) -> Expected:
    return named(folder, "=1+1")


def fault_03_copy_of_a_file(folder: Path) -> Expected:
    slices = clean(folder)
    save(folder, [*slices, again(slices, 6, "copy.dcm", new_uid=False)])
    return kept(slices, trunk_hu(folder.name), "duplicates_dropped")


def halves(one: FileDataset) -> None:
    one.RescaleSlope = 0.5
    set_stored(one, 2 * stored(one))


def fault_16_slope_of_a_half(folder: Path) -> Expected:
    slices = clean(folder)
    for one in slices:
        halves(one)
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name))


FILES = (
    fault_03_copy_of_a_file,
    fault_16_slope_of_a_half,
    fault_24_pixels_truncated,
    fault_24_pixels_missing,
    fault_25_header_cut,
    fault_26_length_beyond_the_end,
    fault_27_files_that_are_no_scans,
    fault_28_no_preamble,
    fault_28_no_file_meta,
    fault_28_no_file_meta_and_implicit,
    fault_33_empty_uids,
    fault_33_empty_patient,
    fault_33_empty_class,
    fault_33_no_modality,
    fault_34_uid_of_two_patients,
    fault_35_too_large,
    fault_36_few_slices,
    fault_36_far_apart,
    fault_36_thick,
    fault_36_short,
    fault_38_two_kernels,
    fault_38_two_thicknesses,
    fault_58_slice_that_may_not_be_read,
    fault_58_folder_that_may_not_be_read,
    fault_58_loop_of_links,
    fault_58_long_names,
    fault_66_patient_id_that_climbs,
    fault_66_patient_id_that_is_a_path,
    fault_66_patient_id_right_to_left,
    fault_67_patient_id_as_a_formula,
)
FILES_WITH_SETTINGS = (
    (fault_37_head_in_a_study_of_the_chest, 'body_part = "chest"'),
    (fault_37_chest_in_a_study_of_the_chest, 'body_part = "chest"'),
)
