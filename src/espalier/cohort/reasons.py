"""Reason codes in words: what people read where programs read the code."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import polars as pl

from espalier.cohort.checks import NOTES

REASONS: Final[Mapping[str, str]] = {
    "bad_affine": "an affine that is no place in space",
    "bad_orientation": "slices that do not say which way they lie",
    "colour": "colour pictures",
    "conflicting_slices": "two different slices at one place",
    "constant_volume": "the same value everywhere",
    "corrupt": "damaged files",
    "handedness_differs": "two geometries that mirror each other",
    "lossy": "compression with loss",
    "metadata_incomplete": "gaps in the table of metadata",
    "missing_file": "missing files",
    "missing_slice": "missing slices",
    "mixed_orientation": "slices that lie different ways",
    "mixed_size": "slices of different sizes",
    "mixed_spacing": "slices of different pixel sizes",
    "multi_frame": "several frames in one file",
    "nan_voxels": "voxels that are not numbers",
    "no_orientation": "no orientation",
    "no_position": "slices that do not say where they lie",
    "no_slice_spacing": "no distance between slices",
    "not_hu": "values that are no HU",
    "not_in_metadata": "no row in the table of metadata",
    "not_nifti": "files that are no NIfTI",
    "not_the_body_part": "another part of the body",
    "not_three_dimensional": "more or fewer than three dimensions",
    "repeated_uid": "one UID for different slices",
    "shifted_slices": "slices beside their place",
    "slices_too_thick": "slices too far apart",
    "too_few_slices": "too few slices",
    "too_large": "volumes too large to read",
    "truncated": "files that end early",
    "truncated_pixels": "files that end early",
    "undecodable_pixels": "pixels that cannot be decoded",
    "uid_of_two_patients": "one series UID for two patients",
    "uneven_slices": "uneven distances between slices",
    "unreadable_file": "files that cannot be read",
    "worker_died": "reading that took too long or too much memory",
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
