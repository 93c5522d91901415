"""Headers, volumes, memory and 50,000 series: Espalier beside SimpleITK and MONAI, interleaved, one thread each.

    python -m pip install --no-deps --target PEERS monai      # a peer that is no dependency of Espalier
    python benchmarks/ingest.py [PEERS]

The series is made up: 152 slices of 512 × 512, explicit VR little endian, 70 elements in each header. Times are CPU times.
"""

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "POLARS_MAX_THREADS"):
    os.environ[name] = "1"
if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir():
    sys.path.append(sys.argv[1])

import numpy as np
import SimpleITK as sitk
from demo import machine
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from espalier.cohort.dicom import index_folder, read_dicom, read_headers
from espalier.cohort.grouping import group_instances
from espalier.cohort.headers import About, Instance
from espalier.cohort.series import Series, choose
from espalier.outputs import write_json
from espalier.store.options import StoreOptions
from espalier.store.preprocess import preprocess

SHAPE, SPACING = (152, 512, 512), (2.0, 0.7, 0.7)
TARGET = StoreOptions()
ROUNDS = 7
TAGS = ("0008|0016", "0008|0018", "0020|000d", "0020|000e", "0010|0020", "0018|0050", "0018|1210", "0020|0032", "0020|0037",
        "0028|0030", "0028|0010", "0028|0011", "0020|0012", "0008|0070", "0008|0050")  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="espalier-ingest-") as name:
        folder = Path(name) / "series"
        write_series(folder)
        rows = [*headers(folder), *volumes(folder), *memory(folder), *records()]
    data = {
        "machine": machine(),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "settings": {
            "slices": SHAPE[0],
            "pixels": SHAPE[1],
            "rounds": ROUNDS,
            "threads": 1,
            "onto_mm": list(TARGET.spacing_mm),
        },
        "rows": rows,
    }
    write_json(Path(__file__).with_suffix(".json"), data, kind="benchmark")
    for row in rows:
        print(row)


def write_series(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    body = ((y - 256) / 170) ** 2 + ((x - 256) / 220) ** 2 < 1
    series, study = generate_uid(), generate_uid()
    for n in range(SHAPE[0]):
        hu = np.where(body, 40, -1000) + rng.normal(0, 12, SHAPE[1:])
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        slice_ = FileDataset(str(folder / f"{n:04d}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID, slice_.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
        slice_.PatientID, slice_.StudyInstanceUID, slice_.SeriesInstanceUID = "P", study, series
        slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [-179.0, -179.0, SPACING[0] * n], [1, 0, 0, 0, 1, 0]
        slice_.PixelSpacing, slice_.SliceThickness, slice_.InstanceNumber = [SPACING[1], SPACING[2]], SPACING[0], n + 1
        slice_.Rows, slice_.Columns, slice_.SamplesPerPixel, slice_.PhotometricInterpretation = *hu.shape, 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 0
        slice_.RescaleSlope, slice_.RescaleIntercept, slice_.RescaleType = 1, -1024, "HU"
        slice_.Manufacturer, slice_.ConvolutionKernel, slice_.KVP = "Maker", "B30f", "120"
        for element in range(40):  # what scanners add: forty private texts
            slice_.add_new((0x0019, 0x1010 + element), "LO", f"value {element}")
        slice_.PixelData = np.clip(hu + 1024, 0, None).astype(np.uint16).tobytes()
        slice_.save_as(slice_.filename, enforce_file_format=True)


def interleaved(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU seconds of each, in rounds so that all meet the same neighbours."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(own) for name, own in seconds.items()}


def headers(folder: Path) -> list[dict[str, Any]]:
    files = [(path, path.name, "") for path in sorted(folder.iterdir())]

    def listed() -> list[str]:
        (series,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        return list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series))

    def with_tags() -> None:
        for name in listed():
            reader = sitk.ImageFileReader()
            reader.SetFileName(name)
            reader.ReadImageInformation()
            [reader.GetMetaData(tag) for tag in TAGS if reader.HasMetaDataKey(tag)]

    seconds = interleaved({
        "ours": lambda: group_instances(read_headers(files)[0], source="x"), "with tags": with_tags, "names only": listed,
    })  # fmt: skip
    return [
        row("headers of a series, against GDCM's listing with tags", seconds["ours"], seconds["with tags"], goal=0.6),
        row("headers of a series, against GDCM's listing of names alone", seconds["ours"], seconds["names only"]),
    ]


def ours(folder: Path) -> np.ndarray:
    (series,) = index_folder(folder)
    return preprocess(read_dicom(folder, series.names).volume, TARGET)


def simpleitk(folder: Path) -> np.ndarray:
    (series,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series))
    image = reader.Execute()
    spacing = TARGET.spacing_mm[::-1]
    size = [round(n * old / new) for n, old, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    out = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection(), -1024,
                        sitk.sitkFloat32)  # fmt: skip
    return np.rint(sitk.GetArrayFromImage(out)).astype(np.int16)


def monai(folder: Path) -> np.ndarray:
    from monai.transforms import Compose, LoadImaged, Orientationd, Spacingd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        way = Compose([
            LoadImaged(keys="ct", ensure_channel_first=True), Orientationd(keys="ct", axcodes="RAS"),
            Spacingd(keys="ct", pixdim=TARGET.spacing_mm[::-1], mode="bilinear"),
        ])  # fmt: skip
        return np.asarray(way({"ct": str(folder)})["ct"])


WAYS: dict[str, Callable[[Path], np.ndarray]] = {"ours": ours, "simpleitk": simpleitk, "monai": monai}


def volumes(folder: Path) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(1)
    seconds = interleaved({name: lambda way=way: way(folder) for name, way in WAYS.items()})
    return [
        row("DICOM to store array, against SimpleITK read and resample", seconds["ours"], seconds["simpleitk"], goal=0.7),
        row("DICOM to store array, against MONAI", seconds["ours"], seconds["monai"], goal=0.3),
    ]


def memory(folder: Path) -> list[dict[str, Any]]:
    """Measure each way in a process of its own: the most memory beyond what its libraries take, in volumes of int16."""
    volume = np.prod(SHAPE) * 2
    grown = {}
    for name in WAYS:
        told = f"sys.argv = ['ingest.py', *{sys.argv[1:]!r}]; sys.path[:0] = [{str(Path(__file__).parent)!r}]"
        code = f"import sys; {told}; import ingest; print(ingest.growth({name!r}, {str(folder)!r}))"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        grown[name] = float(out.stdout.split()[-1]) / volume
    return [
        row("memory of DICOM to store array, against SimpleITK", grown["ours"], grown["simpleitk"], unit="volumes", goal=None),
        row("memory of DICOM to store array, against MONAI", grown["ours"], grown["monai"], unit="volumes"),
        {"what": "memory of DICOM to store array, limit 2 volumes", "ours": round(grown["ours"], 2), "unit": "volumes"},
    ]


def growth(name: str, folder: str) -> int:
    small = Path(folder).parent / f"small-{name}"
    if not small.exists():
        small.mkdir()
        for path in sorted(Path(folder).iterdir())[:4]:
            (small / path.name).write_bytes(path.read_bytes())
    WAYS[name](small)  # so that imports and pools do not count
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    WAYS[name](Path(folder))
    return status("VmHWM") - before


def status(name: str) -> int:
    """Return one line of Linux's own account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def made_up(count: int, slices: int) -> Iterator[list[tuple[About, Instance]]]:
    for n in range(count):
        about = About(patient=f"P{n // 2}", study_uid=f"S{n // 2}", series_uid=f"1.2.{n}", kernel="B30f", number=n % 2)
        yield [
            (about, Instance(name=f"{n}/{k}", sop_uid=f"1.2.{n}.{k}", position=(0.0, 0.0, 3.0 * k),
                             orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), spacing=(0.7, 0.7), rows=512, columns=512))
            for k in range(slices)
        ]  # fmt: skip


def records(count: int = 50_000, slices: int = 40) -> list[dict[str, Any]]:
    """Group, check and choose among made-up series, as `discover` does: one folder's slices at a time."""
    from dataclasses import replace

    before = status("VmRSS")
    spent = 0.0
    series: list[Series] = []
    for pairs in made_up(count, slices):
        begun = time.process_time()
        series += [replace(one, names=(), units=("u",)) for one in group_instances(pairs, source="x")]
        spent += time.process_time() - begun
    begun = time.process_time()
    chosen = choose(series)
    spent += time.process_time() - begun
    assert sum(choice.chosen for choice in chosen) == count // 2
    grown = (status("VmRSS") - before) / 2**20
    return [
        {"what": f"{count} made-up series of {slices} slices grouped and chosen", "ours": round(spent, 1), "unit": "CPU s"},
        {"what": f"memory of {count} made-up series", "ours": round(grown), "unit": "MB"},
    ]  # fmt: skip


def row(what: str, own: float, other: float, *, unit: str = "CPU s", goal: float | None = None) -> dict[str, Any]:
    told = {"what": what, "ours": round(own, 4), "other": round(other, 4), "ratio": round(own / other, 3), "unit": unit}
    return {**told, "goal": goal, "met": own / other <= goal} if goal is not None else told


if __name__ == "__main__":
    main()
