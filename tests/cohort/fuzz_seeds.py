"""Small sound files of every kind that the readers know, to start mutations from; also run by benchmarks/fuzz.py."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

SUFFIXES = (".dcm", ".nii", ".nii.gz", ".nrrd", ".mha", ".npz", ".zip", ".tar")
SHAPE = (6, 8, 8)


def voxels() -> np.ndarray:
    hu = np.full(SHAPE, -1000, dtype=np.int16)
    hu[:, 2:-2, 2:-2] = 40
    return hu


def scan_seeds(folder: Path) -> list[bytes]:
    """Return files, each behind one byte that is the place of its suffix in `SUFFIXES`."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = [dicom(folder, n, ExplicitVRLittleEndian) for n in range(SHAPE[0])]
    others = [dicom(folder, 9, syntax) for syntax in (ImplicitVRLittleEndian, RLELossless)]
    nifti = nib.Nifti1Image(voxels().transpose(2, 1, 0), np.diag([-1.5, -1.5, 3.0, 1.0])).to_bytes()
    image = sitk.GetImageFromArray(voxels())
    seeds = [(0, one) for one in (*slices, *others)] + [(1, nifti), (2, gzip.compress(nifti))]
    for place, suffix, packed in ((3, ".nrrd", True), (3, ".nrrd", False), (4, ".mha", True), (4, ".mha", False)):
        sitk.WriteImage(image, folder / f"a{suffix}", useCompression=packed)
        seeds.append((place, (folder / f"a{suffix}").read_bytes()))
    stream = io.BytesIO()
    np.savez_compressed(stream, ct=voxels(), affine=np.diag([3.0, 1.5, 1.5, 1.0])[:, [2, 1, 0, 3]])
    seeds += [(5, stream.getvalue()), (6, zipped(slices)), (7, tarred(slices))]
    return [bytes([place]) + packed for place, packed in seeds]


def table_seeds() -> list[bytes]:
    """Return tables in several encodings and separators."""
    text = "accession;report\n007;\"Effüsion, links;\nkein 'Infarkt'\"\n1E05;=x\n"
    turkish = "accession,report\n1,Sağ akciğerde plevral sıvı\n2,Şüpheli\n"
    return [
        text.encode(), text.encode("utf-16"), text.encode("cp1252"), turkish.encode("cp1254"), b"sep=;\r\na;b\r\n1;2\r\n",
        b"\xef\xbb\xbfa\tb\n1\t2\n", b"a|b\r1|2\r", b"a,b\n1,2,3\n", b"\0a,b\n",
    ]  # fmt: skip


def dicom(folder: Path, n: int, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = CTImageStorage, f"1.2.3.{n}", syntax
    one = FileDataset(str(folder / "a.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID, one.Modality = CTImageStorage, f"1.2.3.{n}", "CT"
    one.PatientID, one.StudyInstanceUID, one.SeriesInstanceUID = "P", "1.2.3", "1.2.4"
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 3 * n], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.Rows, one.Columns = [1.5, 1.5], *SHAPE[1:]
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
    one.RescaleSlope, one.RescaleIntercept, one.PixelPaddingValue = 1, 0, -2000
    one.PixelData = voxels()[0].tobytes()
    if syntax == RLELossless:
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.compress(RLELossless, generate_instance_uid=False)
    one.save_as(one.filename, enforce_file_format=True)
    return (folder / "a.dcm").read_bytes()


def zipped(files: list[bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, packed in enumerate(files):
            archive.writestr(f"a/{n}.dcm", packed)
    return stream.getvalue()


def tarred(files: list[bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for n, packed in enumerate(files):
            member = tarfile.TarInfo(f"a/{n}.dcm")
            member.size = len(packed)
            archive.addfile(member, io.BytesIO(packed))
    return stream.getvalue()
