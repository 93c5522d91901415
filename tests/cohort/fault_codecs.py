"""Faults 29 to 32: transfer syntaxes of every kind, with loss, with a lying header, and broken ones."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from .fault_scans import Expected, clean, kept, save, set_aside, set_stored, stored, trunk_hu


def transcoded(folder: Path, syntax: str) -> list[FileDataset]:
    """Write a clean series compressed by GDCM, which must not be loaded before zlib: their deflate bears the same names."""
    import gdcm

    slices = clean(folder)
    for path in save(folder, slices):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
    return slices


def equal(folder: Path, slices: Sequence[FileDataset]) -> Expected:
    return kept(slices, trunk_hu(folder.name))


def fault_29_jpeg_lossless(folder: Path) -> Expected:
    return equal(folder, transcoded(folder, "JPEGLosslessProcess14_1"))


def fault_29_jpeg_lossless_any_predictor(folder: Path) -> Expected:
    return equal(folder, transcoded(folder, "JPEGLosslessProcess14"))


def fault_29_jpeg_ls(folder: Path) -> Expected:
    return equal(folder, transcoded(folder, "JPEGLSLossless"))


def fault_29_jpeg_2000(folder: Path) -> Expected:
    return equal(folder, transcoded(folder, "JPEG2000Lossless"))


def fault_29_rle(folder: Path) -> Expected:
    return equal(folder, transcoded(folder, "RLELossless"))


def rewritten(folder: Path, syntax: str) -> Expected:
    slices = clean(folder)
    big = syntax == ExplicitVRBigEndian
    for one in slices:
        one.file_meta.TransferSyntaxUID = syntax
        if big:
            one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
            one["PixelData"].VR = "OW"
    folder.mkdir(parents=True, exist_ok=True)
    for one in slices:
        implicit = syntax == ImplicitVRLittleEndian
        # The data set was made little endian; what is asked for here is what its file meta says.
        pydicom.dcmwrite(folder / str(one.filename), one, implicit_vr=implicit, little_endian=not big, enforce_file_format=True)
    return equal(folder, slices)


def fault_29_implicit(folder: Path) -> Expected:
    return rewritten(folder, ImplicitVRLittleEndian)


def fault_29_deflated(folder: Path) -> Expected:
    return rewritten(folder, DeflatedExplicitVRLittleEndian)


def fault_29_big_endian(folder: Path) -> Expected:
    return rewritten(folder, ExplicitVRBigEndian)


def packed(folder: Path, syntax: str = JPEG2000Lossless, **settings: object) -> list[FileDataset]:
    """Return a series compressed by pydicom, not written yet."""
    slices = clean(folder)
    for one in slices:
        uid = one.SOPInstanceUID
        one.compress(syntax, generate_instance_uid=False, **settings)
        assert uid == one.SOPInstanceUID
    return slices


def lossy(folder: Path) -> list[FileDataset]:
    slices = packed(folder, JPEG2000, j2k_psnr=[70])
    for one in slices:
        one.LossyImageCompression, one.LossyImageCompressionRatio = "01", 12
    save(folder, slices)
    return slices


def fault_30_lossy(folder: Path) -> Expected:
    return kept(lossy(folder), None, "lossy", tolerance_hu=30)


def fault_30_lossy_but_only_the_syntax_says_so(folder: Path) -> Expected:
    slices = lossy(folder)
    for one in slices:
        del one.LossyImageCompression, one.LossyImageCompressionRatio
    save(folder, slices)
    return kept(slices, None, "lossy", tolerance_hu=30)


def fault_30_lossy_once_and_unpacked(folder: Path) -> Expected:
    """Only the tag tells that a series was compressed with loss before."""
    slices = clean(folder)
    for one in slices:
        one.LossyImageCompression = "01"
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), "lossy")


def fault_30_lossy_set_aside(folder: Path) -> Expected:
    lossy(folder)
    return set_aside("lossy")


def lying_header(folder: Path, change: Callable[[FileDataset], object], narrow: Callable[[FileDataset], object]) -> Expected:
    """Write codestreams made under one header and described by another; HU are right, or the scan is set aside."""
    slices = clean(folder)
    for one in slices:
        narrow(one)
        one.compress(JPEG2000Lossless, generate_instance_uid=False)
        change(one)
    save(folder, slices)
    right = kept(slices, trunk_hu(folder.name))
    return Expected(
        ending="right_or_set_aside",
        codes=("undecodable_pixels", "not_hu", "codestream_differs"),
        may=("codestream_differs", "precision_differs", "no_rescale", "padding_replaced"),
        marker_mm=right.marker_mm,
        spacing_z_mm=right.spacing_z_mm,
        voxels_sha256=right.voxels_sha256,
    )


def twelve_bits(one: FileDataset) -> None:
    one.BitsStored, one.HighBit = 12, 11


def sixteen_bits(one: FileDataset) -> None:
    one.BitsStored, one.HighBit = 16, 15


def signed(one: FileDataset) -> None:
    hu = stored(one) - 1024
    one.PixelRepresentation, one.RescaleIntercept = 1, 0
    set_stored(one, hu)


def unsigned(one: FileDataset) -> None:
    one.PixelRepresentation = 0


def fault_31_codestream_of_fewer_bits(folder: Path) -> Expected:
    return lying_header(folder, sixteen_bits, twelve_bits)


def fault_31_codestream_of_more_bits(folder: Path) -> Expected:
    return lying_header(folder, twelve_bits, sixteen_bits)


def fault_31_signed_codestream_of_sixteen_bits(folder: Path) -> Expected:
    return lying_header(folder, unsigned, signed)


def fault_31_signed_codestream_of_twelve_bits(folder: Path) -> Expected:
    return lying_header(folder, lambda one: (unsigned(one), sixteen_bits(one)), lambda one: (signed(one), twelve_bits(one)))


def spoilt(folder: Path, syntax: str, spoil: Callable[[bytes], bytes]) -> Expected:
    slices = packed(folder, syntax)
    (codestream,) = generate_frames(slices[7].PixelData, number_of_frames=1)
    slices[7].PixelData = encapsulate([spoil(codestream)])
    slices[7]["PixelData"].VR = "OB"
    save(folder, slices)
    return set_aside("undecodable_pixels|truncated_pixels")


def fault_32_codestream_without_its_start(folder: Path) -> Expected:
    return spoilt(folder, JPEG2000Lossless, lambda code: bytes(64) + code[64:])


def fault_32_codestream_cut(folder: Path) -> Expected:
    return spoilt(folder, JPEG2000Lossless, lambda code: code[: len(code) // 4 * 2])


def fault_32_rle_offsets_of_nowhere(folder: Path) -> Expected:
    return spoilt(folder, RLELossless, lambda code: code[:4] + b"\xff\xff\xff\x7f" * 15 + code[64:])


def fault_32_rle_cut(folder: Path) -> Expected:
    return spoilt(folder, RLELossless, lambda code: code[: len(code) // 4 * 2])


def fault_33_jpeg_2000_without_uids(folder: Path) -> Expected:
    slices = packed(folder)
    for one in slices:
        one.StudyInstanceUID = one.SOPInstanceUID = ""
    save(folder, slices)
    return kept(slices, trunk_hu(folder.name), may=("empty_uids", "uids_missing"))


CODECS = (
    fault_29_jpeg_lossless,
    fault_29_jpeg_lossless_any_predictor,
    fault_29_jpeg_ls,
    fault_29_jpeg_2000,
    fault_29_rle,
    fault_29_implicit,
    fault_29_deflated,
    fault_29_big_endian,
    fault_30_lossy,
    fault_30_lossy_but_only_the_syntax_says_so,
    fault_30_lossy_once_and_unpacked,
    fault_31_codestream_of_fewer_bits,
    fault_31_codestream_of_more_bits,
    fault_31_signed_codestream_of_sixteen_bits,
    fault_31_signed_codestream_of_twelve_bits,
    fault_32_codestream_without_its_start,
    fault_32_codestream_cut,
    fault_32_rle_offsets_of_nowhere,
    fault_32_rle_cut,
    fault_33_jpeg_2000_without_uids,
)
CODECS_WITH_SETTINGS = ((fault_30_lossy_set_aside, 'lossy = "set_aside"'),)
