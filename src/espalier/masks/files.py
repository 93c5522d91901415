"""Multi-label masks as NIfTI, with their names in the header extension as TotalSegmentator writes them."""

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped, UInt8

from espalier.errors import ScanError
from espalier.geometry import Affine
from espalier.outputs import written_whole

LABEL: Final = re.compile(r'<Label\s+Key="(\d+)"[^>]*>\s*<!\[CDATA\[(.*?)\]\]>\s*</Label>', re.DOTALL)
LPS_OF_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
ZYX_OF_XYZ: Final = np.eye(4)[[2, 1, 0, 3]]
COMMENT: Final = 6
"""Code of a NIfTI header extension that holds plain text."""
MADE_BY: Final = "espalier_made_by"


@dataclass(frozen=True, slots=True)
class Masks:
    """All structures of one scan on one grid.

    Attributes
    ----------
    voxels
        uint8 of shape (z, y, x); 0 is background.
    affine
        From index (z, y, x) to world, LPS+, in mm.
    names
        What each value stands for; empty where the file does not say.
    made_by
        What made them: segmenter, its version, its settings; empty where the file does not say.
    """

    voxels: UInt8[np.ndarray, "z y x"]
    affine: Affine
    names: Mapping[int, str]
    made_by: Mapping[str, str] = field(default_factory=dict)


def read_masks(path: Path) -> Masks:
    """Return the masks of a NIfTI file, turned to z, y, x and LPS.

    Raises
    ------
    ScanError
        `mask_unreadable`, `mask_shape`, `mask_position` or `mask_values`: the file is no three-dimensional label mask
        with a position in the patient.
    """
    header, voxels = _read_nifti(path)
    if voxels.ndim == 4 and voxels.shape[3] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise ScanError(
            path,
            code="mask_shape",
            found=f"shape {voxels.shape}",
            expected="three dimensions",
            do="Save one label volume per scan.",
        )
    affine = LPS_OF_RAS @ header.get_best_affine() @ ZYX_OF_XYZ
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise ScanError(
            path,
            code="mask_position",
            found="neither sform nor qform is set, so its place in the patient is unknown",
            expected="an affine in the header",
            do="Write the mask with the affine of its scan.",
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError(
            path,
            code="mask_position",
            found="an affine that maps no volume",
            expected="three independent axes",
            do="Write the mask with the affine of its scan.",
        )
    labels = np.ascontiguousarray(_as_labels(voxels, path).transpose(2, 1, 0))
    return Masks(labels, affine, _names_in(header), _made_by_in(header))


def write_masks(path: Path, masks: Masks) -> None:
    """Write masks as uint8 NIfTI (`.nii.gz`), whole or not at all; equal masks give equal bytes."""
    import nibabel

    affine = LPS_OF_RAS @ masks.affine @ ZYX_OF_XYZ
    nifti = nibabel.Nifti1Image(masks.voxels.transpose(2, 1, 0), affine, dtype=np.uint8)
    nifti.header.set_xyzt_units("mm")
    nifti.header.set_qform(affine, code="unknown")
    nifti.header.set_sform(affine, code="aligned")
    if masks.names:
        nifti.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, _extension(masks.names)))
    if masks.made_by:
        told = json.dumps({MADE_BY: dict(masks.made_by)}, sort_keys=True).encode()
        nifti.header.extensions.append(nibabel.nifti1.Nifti1Extension(COMMENT, told))
    with written_whole(path) as partial:
        partial.write_bytes(gzip.compress(nifti.to_bytes(), compresslevel=4, mtime=0))


def _read_nifti(path: Path) -> tuple[Any, Shaped[np.ndarray, "..."]]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.wrapstruct import WrapStructError

    try:
        nifti = nibabel.Nifti1Image.from_filename(path)
        return nifti.header, np.asarray(nifti.dataobj)
    except (OSError, EOFError, ValueError, KeyError, ImageFileError, WrapStructError, zlib.error) as error:
        raise ScanError(
            path,
            code="mask_unreadable",
            found=f"not readable as NIfTI ({type(error).__name__})",
            expected="a whole .nii or .nii.gz file",
            do="Copy or make the mask again.",
        ) from error


def _as_labels(voxels: Shaped[np.ndarray, "..."], path: Path) -> UInt8[np.ndarray, "..."]:
    labels = voxels.astype(np.uint8, casting="unsafe") if _fits(voxels) else None
    if labels is None or not np.array_equal(labels, voxels):
        raise ScanError(
            path,
            code="mask_values",
            found="values that are not whole numbers from 0 to 255",
            expected="one value per structure",
            do="Save the labels, not probabilities, as uint8.",
        )
    return labels


def _fits(voxels: Shaped[np.ndarray, "..."]) -> bool:
    low, high = voxels.min(), voxels.max()
    return bool(low >= 0 and high <= 255)


def _names_in(header: Any) -> dict[int, str]:
    for extension in header.extensions:
        if found := LABEL.findall(_text(extension)):
            return {int(value): name.strip() for value, name in found}
    return {}


def _made_by_in(header: Any) -> dict[str, str]:
    for extension in header.extensions:
        text = _text(extension).rstrip("\0")
        if extension.get_code() == COMMENT and MADE_BY in text:
            try:
                told = json.loads(text)[MADE_BY]
                return {str(name): str(value) for name, value in told.items()}
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a comment of somebody else that only names ours
    return {}


def _text(extension: Any) -> str:
    content = extension.get_content()
    return content.decode("utf-8", errors="replace") if isinstance(content, bytes) else str(content)


def _extension(names: Mapping[int, str]) -> bytes:
    """Return the label list in the form that TotalSegmentator writes and viewers read, with colours by value."""
    labels = "".join(
        f'<Label Key="{value}" Red="{_part(value, 1)}" Green="{_part(value, 2)}" Blue="{_part(value, 4)}" Alpha="1">'
        f"<![CDATA[{name}]]></Label>\n"
        for value, name in sorted(names.items())
    )
    # The date is fixed, as TotalSegmentator's is: the same masks give the same bytes.
    text = (
        '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <Date><![CDATA[2013-07-14T05:45:09]]></Date>   '
        f'<VolumeInformation Index="0">   <LabelTable>\n{labels}\n  </LabelTable>  <StudyMetaDataLinkSet>  '
        "</StudyMetaDataLinkSet>  <VolumeType><![CDATA[Label]]></VolumeType>   </VolumeInformation></CaretExtension>"
    )
    return text.encode()


def _part(value: int, bit: int) -> float:
    return 1.0 if value & bit else round(0.15 * (value % 5), 2)
