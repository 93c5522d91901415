"""Reason codes in words: what people read where programs read the code."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import polars as pl

from espalier.cohort.checks import SHORT_MM, THICK_MM
from espalier.cohort.volume import AIR_HU

NOTES: Final[Mapping[str, str]] = {
    "thick_slices": f"more than {THICK_MM:.0f} mm between slices",
    "short_coverage": f"less than {SHORT_MM:.0f} mm of the body",
    "lungs_cut": "the lungs go on beyond the first or the last slice",
    "looks_like_head": "looks like a head",
    "looks_like_neck": "looks like a neck",
    "looks_like_limb": "looks like an arm or a leg",
    "contrast_differs": "the header and the voxels disagree on contrast agent",
    "not_axial": "slices that do not run across the body",
    "localizers_dropped": "localizers inside the series were left out",
    "duplicates_dropped": "equal slices at one place were left out",
    "gantry_tilt": "the gantry was tilted; resampled onto an upright grid",
    "sheared": "the axes are not at right angles; resampled onto an upright grid",
    "rescale_varies": "slope and intercept change from slice to slice",
    "no_rescale": "no slope and intercept; taken as 1 and 0, and the HU are plausible",
    "rescale_type": "the rescale is not said to give HU",
    "monochrome1": "stored for inverted display; HU are not inverted",
    "lossy": "compressed with loss",
    "padding_replaced": f"values below {AIR_HU} HU, or marked as padding, were set to {AIR_HU}",
    "nan_replaced": f"voxels that are not numbers were set to {AIR_HU}",
    "sform_qform_differ": "sform and qform differ; the sform was taken",
    "orientation_assumed": "neither sform nor qform is set; the axes are taken to run as the study says",
    "byte_order_assumed": "the file does not say the order of its bytes; taken as this machine's",
    "anatomical_orientation_differs": "the anatomical orientation and the matrix differ; the matrix was taken",
    "unit_converted": "lengths were not in mm",
    "grouped_by_folder": "no series UID; taken as one series by folder, size and kind",
    "projection": "slabs that merge several slices, as in maximum intensity projections",
    "uids_missing": "slices without a UID of their own",
    "position_assumed": "no position; taken from the slice location as the study says",
    "spacing_varies": "the distance between slices changes inside; interpolated onto the finer one",
    "slice_interpolated": "one slice is missing; interpolated from its neighbours as the study says",
    "duplicate": "another scan holds the same voxels (duplicates.parquet)",
    "near_duplicate": "another scan shows the same acquisition (duplicates.parquet)",
    "not_in_metadata": "not in the data set's table of metadata",
    "patient_unknown": "the data set's tables do not say whose it is",
    "patient_differs": "the header names another patient than the data set's folder",
    "uneven_slices_resampled": "the data set resampled it from uneven slices",
    "spacing_differs": "the file's spacing is not that of the data set's table",
    "incomplete_structure": "the data set says that an organ is not shown whole",
}
"""What each note of the cohort table means."""
REASONS: Final[Mapping[str, str]] = {
    "archive_corrupt": "archives that are damaged",
    "archive_encrypted": "encrypted archives",
    "archive_nested": "archives within archives",
    "archive_too_large": "archives too large to unpack",
    "archive_unsafe": "archives that reach outside their folder",
    "bad_affine": "an affine that is no place in space",
    "bad_orientation": "slices that do not say which way they lie",
    "colour": "colour pictures",
    "conflicting_slices": "two different slices at one place",
    "constant_volume": "the same value everywhere",
    "corrupt": "damaged files",
    "first_upload": "an older upload of the same volume",
    "handedness_differs": "two geometries that mirror each other",
    "lossy": "compression with loss",
    "metadata_incomplete": "gaps in the table of metadata",
    "missing_file": "missing files",
    "missing_slice": "missing slices",
    "mixed_orientation": "slices that lie different ways",
    "mixed_size": "slices of different sizes",
    "mixed_spacing": "slices of different pixel sizes",
    "multi_frame": "several frames in one file",
    "name_twice": "two files of one name",
    "nan_voxels": "voxels that are not numbers",
    "no_orientation": "no orientation",
    "no_position": "slices that do not say where they lie",
    "no_slice_spacing": "no distance between slices",
    "not_hu": "values that are no HU",
    "not_in_layout": "names that the data set does not have",
    "not_in_metadata": "no row in the table of metadata",
    "not_metaimage": "files that are no MetaImage",
    "not_nifti": "files that are no NIfTI",
    "not_npz": "files that are no NumPy archive",
    "not_nrrd": "files that are no NRRD",
    "not_the_body_part": "another part of the body",
    "not_three_dimensional": "more or fewer than three dimensions",
    "orientation_not_published": "an orientation that the data set left out",
    "out_of_memory": "reading that took too much memory",
    "outside_its_folder": "a data file outside its folder",
    "patient_in_two_splits": "a patient in two official splits",
    "repeated_uid": "one UID for different slices",
    "rescaled_twice": "values rescaled twice",
    "series_torn": "a series torn over two sources",
    "series_twice": "a second copy of a series",
    "shifted_slices": "slices beside their place",
    "slices_too_thick": "slices too far apart",
    "timed_out": "reading that took too long",
    "too_few_slices": "too few slices",
    "too_large": "volumes too large to read",
    "truncated": "files that end early",
    "truncated_pixels": "files that end early",
    "uid_of_two_patients": "one series UID for two patients",
    "undecodable_pixels": "pixels that cannot be decoded",
    "uneven_slices": "uneven distances between slices",
    "unreadable_file": "files that cannot be read",
    "unreadable_folder": "folders that cannot be read",
    "worker_died": "a reading process that died",
}
"""Why scans are set aside, as it follows "set aside for"; codes that are not here are said in their own words."""
PLAIN_WORDS: Final = frozenset(
    {"ct", "data", "dicom", "export", "file", "files", "folder", "nifti", "patient", "patients", "scan", "scans", "series"}
    | {"slice", "slices", "source", "sources", "studies", "study", "table", "volume", "volumes"}
)
"""Names of folders that tell nothing of anybody, and that advice may hold as words."""


def reason_words(code: str) -> str:
    """Return a reason code of `set_aside.csv` in words."""
    return REASONS.get(code, code.replace("_", " "))


def note_words(code: str) -> str:
    """Return what a note of `cohort.parquet` means."""
    return NOTES.get(code, code.replace("_", " "))


def advice(rows: pl.DataFrame) -> str:
    """Return what most rows of `set_aside.csv` tell to do, for pages and logs: no advice that quotes a part of their paths."""
    parts = {part.lower() for source in rows["source"] for part in re.split(r"[/\\]", source) if len(part) > 1} - PLAIN_WORDS
    names = parts | {part.partition(".")[0] for part in parts} - PLAIN_WORDS
    for told, _ in sorted(Counter(rows["do"]).items(), key=lambda pair: (-pair[1], pair[0])):
        words = set(re.findall(r"[\w.-]*\w", told.lower()))
        if not names & words and not any(part in told.lower() for part in parts if len(part) > 3):
            return told
    return ""
