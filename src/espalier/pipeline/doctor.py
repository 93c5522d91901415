"""What can be done here, and what to install for the rest."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from espalier.masks.environments import describe_environment, environment_names

EXTRAS: Final[Mapping[str, str]] = {
    "torch": "train",
    "onnxruntime": "predict",
    "onnxscript": "export",
    "openvino": "openvino",
    "pynetdicom": "serve",
    "submitit": "slurm",
    "ray": "ray",
}
PROGRAMS: Final[Mapping[str, str]] = {
    "dciodvfy": "checks DICOM files (package dicom3tools)",
    "Orthanc": "a PACS for tests (Debian package orthanc)",
    "sbatch": "sends work to a Slurm cluster (Debian packages slurm-client, slurm-wlm)",
    "chromium": "looks at pages in tests (Debian package chromium)",
}


def examine() -> dict[str, str]:
    """Return one line for each thing looked at: machine, packages by extra, programs, environments of segmenters."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    told = {"python": platform.python_version(), "processors": str(os.cpu_count()), "disk here": f"{free:.0f} GB free"}
    for package, extra in EXTRAS.items():
        told[package] = _version(package) or f'not installed: pip install "espalier[{extra}]"'
    told |= _accelerators() if _version("torch") else {}
    for program, words in PROGRAMS.items():
        told[program] = shutil.which(program) or f"not found; {words}"
    return told | {name: describe_environment(name) for name in environment_names()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _accelerators() -> dict[str, str]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    bf16 = "avx512_bf16" in flags or "amx_bf16" in flags
    return {
        "GPU": ", ".join(gpus) or "none; training runs on the processor",
        "bfloat16": "fast here" if bf16 else "no; float32 is used",
    }
