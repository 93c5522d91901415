"""Masks in single files of a volume: many structures in one NIfTI, NRRD or MetaImage, or one structure a file in a folder."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from nibabel.filebasedimages import ImageFileError

from espalier.cohort.metaimage import read_metaimage
from espalier.cohort.nifti import BROKEN
from espalier.cohort.nrrd import read_nrrd
from espalier.cohort.raw_voxels import header_bytes
from espalier.cohort.stored import MAX_VOXELS, PACKED_BEST
from espalier.errors import ScanError
from espalier.geometry import world_mm
from espalier.masks.files import Masks, read_masks
from espalier.masks.given import Groups, MaskFile, Painted, painted_layers, refuse_other_grid
from espalier.masks.label_lists import LABELS, RATIC, names_beside, names_in_list, published_list

NIFTI: Final = (".nii.gz", ".nii")
NRRD: Final = (".seg.nrrd", ".nrrd")
METAIMAGE: Final = (".mha",)
SUFFIXES: Final = (*NIFTI, *NRRD, *METAIMAGE)
FROM_LIST: Final = "mask_names_from_list"
"""Noted where neither the file nor a list beside it names the values, so that the data set's published list was taken."""
BY_PLACE: Final = "mask_sides_by_place"
"""Noted where two values are a left and a right structure in no published order, and their places decided."""
CODES: Final[Mapping[str, str]] = {
    "not_three_dimensional": "mask_shape",
    "colour": "mask_shape",
    "no_orientation": "mask_position",
    "bad_affine": "mask_position",
}
"""What a reader of volumes says, as it is said of masks; all else is `mask_unreadable`."""
_SEGMENT: Final = re.compile(r"^Segment(\d{1,4})_(Name|LabelValue):=(.*)$", re.MULTILINE)


def is_volume(name: str) -> bool:
    """Tell by its name whether a file is a volume of labels; hidden ones are none."""
    last = name.rpartition("/")[2].lower()
    return last.endswith(SUFFIXES) and not last.startswith(".")


def without_suffix(name: str) -> str:
    """Return a file's name or path without the ending of a mask."""
    return next((name[: -len(s)] for s in (*SUFFIXES, ".dcm") if name.lower().endswith(s)), name)


def open_volume(path: Path, root: Path, structures: Sequence[str]) -> MaskFile:
    """Return one file of many structures, opened.

    Its names come from its own header, else from a `labels.json` or `dataset.json` beside it or above it, else from the
    published list of its data set; where there is none of these, its values are the wanted structures in their order.

    Parameters
    ----------
    path
        NIfTI, NRRD or MetaImage.
    root
        The folder of masks.
    structures
        The wanted ones.

    Raises
    ------
    ScanError
        As `read_masks`, `mask_values_unnamed`, or `mask_mirrored`.
    InputError
        When the list beside it is none.
    """
    masks = read_label_volume(path)
    names = masks.names or names_beside(path, root)
    notes: tuple[str, ...] = ()
    if not names and (which := published_list(path.relative_to(root).as_posix(), root)):
        names, notes = names_in_list(which), (FROM_LIST,)
        if which == RATIC:
            names, notes = _with_sides(masks, names, path)
    if not names:
        names = _in_order(masks, structures, path)

    return MaskFile(path, (names,), reader_of(masks, notes))


def reader_of(masks: Masks, notes: tuple[str, ...] = ()) -> Callable[[Groups], Painted]:
    """Return what reads the wanted values of masks that are in memory."""

    def read(groups: Groups) -> Painted:
        table = np.zeros(256, dtype=np.uint8)
        for value, group in enumerate(groups, start=1):
            table[list(group)] = value
        return Painted(table[masks.voxels], masks.affine, notes)

    return read


def open_folder(folder: Path, names: Sequence[str]) -> MaskFile:
    """Return a folder that holds one file for each structure, opened; a file's name is its structure's.

    Parameters
    ----------
    folder
        The folder.
    names
        Its files.
    """
    files = dict(enumerate(sorted(names), start=1))

    def read(groups: Groups) -> Painted:
        own = [(value, folder / files[n]) for value, group in enumerate(groups, start=1) for n in group]
        first = read_label_volume(own[0][1])

        def layers(value: int, path: Path) -> tuple[int, np.ndarray]:
            masks = first if path == own[0][1] else read_label_volume(path)
            refuse_other_grid(masks, first, path)
            return value, masks.voxels > 0

        return painted_layers((layers(*one) for one in own), first.voxels.shape, first.affine)

    return MaskFile(folder, ({n: without_suffix(name) for n, name in files.items()},), read)


def read_label_volume(path: Path) -> Masks:
    """Return the labels in a file, with the names that its header holds; raise `ScanError` as `read_masks` does."""
    if path.name.lower().endswith(NIFTI):
        return _read_nifti(path)
    try:
        is_nrrd = path.name.lower().endswith(NRRD)
        volume = (read_nrrd(path) if is_nrrd else read_metaimage(path)).volume
        names = _segment_names(header_bytes(path, kind="NRRD")) if is_nrrd else {}
    except ScanError as error:
        code = CODES.get(error.code, "mask_unreadable")
        raise ScanError(path, code=code, found=error.found, expected=error.expected, do=error.do) from error
    voxels = volume.voxels
    labels = np.clip(voxels, 0, 255).astype(np.uint8)
    if not np.array_equal(labels, voxels):
        raise ScanError(
            path,
            code="mask_values",
            found="values that are not whole numbers from 0 to 255",
            expected="one value per structure",
            do="Save the labels, not probabilities, as uint8.",
        )
    return Masks(labels, volume.affine, names)


def _read_nifti(path: Path) -> Masks:
    """Return the masks of a NIfTI file that anyone may have sent: what its header claims is held against its bytes first."""
    import nibabel
    from nibabel.imageglobals import LoggingOutputSuppressor

    with warnings.catch_warnings(), LoggingOutputSuppressor(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what matters of it is judged here
        try:
            header = nibabel.Nifti1Image.from_filename(path).header
            claimed = int(np.prod([float(n) for n in header.get_data_shape()]))
            size = path.stat().st_size
            if claimed > MAX_VOXELS or claimed * header.get_data_dtype().itemsize > PACKED_BEST * size:
                raise _unreadable(path, f"a header that claims {claimed} voxels in {size} bytes")
            return read_masks(path)
        except (*BROKEN, ImageFileError) as error:
            raise _unreadable(path, f"not readable as NIfTI ({type(error).__name__})") from error


def _unreadable(path: Path, found: str) -> ScanError:
    expected, do = "a whole .nii or .nii.gz file", "Copy or make the mask again."
    return ScanError(path, code="mask_unreadable", found=found, expected=expected, do=do)


def _segment_names(header: bytes) -> dict[int, str]:
    """Return what the header of 3D Slicer's `.seg.nrrd` calls its values."""
    text = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0].decode("utf-8", "replace").replace("\r", "")
    told: dict[str, dict[str, str]] = {}
    for number, key, value in _SEGMENT.findall(text):
        told.setdefault(number, {})[key] = value.strip()
    values = {own.get("LabelValue", ""): own.get("Name", "") for own in told.values()}
    return {
        int(v): name for v, name in values.items() if v.isascii() and v.isdigit() and len(v) <= 3 and 0 < int(v) <= 255 and name
    }


def _in_order(masks: Masks, structures: Sequence[str], path: Path) -> dict[int, str]:
    highest = int(masks.voxels.max())
    if highest > len(structures):
        raise ScanError(
            path,
            code="mask_values_unnamed",
            found=f"values up to {highest} and no names",
            expected=f"at most {len(structures)}, in the order of [masks] structures",
            do=f"Put a {LABELS} beside it that names each value.",
        )
    return dict(enumerate(structures, start=1))


def _with_sides(masks: Masks, names: Mapping[int, str], path: Path) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return RATIC's names, its two kidneys told apart by where they lie, since which is which is not published.

    World x runs to the patient's left; a liver on the left of the spleen is the known fault that these files lie mirrored.
    """
    x_mm = {name: _middle_x_mm(masks, value) for value, name in names.items()}
    if x_mm["liver"] is not None and x_mm["spleen"] is not None and x_mm["liver"] > x_mm["spleen"]:
        raise ScanError(
            path,
            code="mask_mirrored",
            found="its liver lies on the left of its spleen",
            expected="the liver on the patient's right",
            do="Mirror it, or leave its scan without masks.",
        )
    left, right = x_mm["kidney_left"], x_mm["kidney_right"]
    if left is None or right is None or left >= right:
        return dict(names), (FROM_LIST,)
    swapped = {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}
    return {value: swapped.get(name, name) for value, name in names.items()}, (FROM_LIST, BY_PLACE)


def _middle_x_mm(masks: Masks, value: int) -> float | None:
    here = masks.voxels == value
    if not here.any():
        return None
    middle = [
        float(np.average(np.arange(n), weights=here.sum(axis=tuple(a for a in range(3) if a != axis))))
        for axis, n in enumerate(here.shape)
    ]
    return float(world_mm(masks.affine, middle)[0])
