"""What a run computes on: the device, its number of threads, and whether it has bfloat16."""

import contextlib
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

log = logging.getLogger(__name__)


def chosen_device() -> torch.device:
    """Return the GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the wanted precision, or float32 with a note where the hardware would only imitate bfloat16."""
    if precision == "float32":
        return torch.float32
    if has_bfloat16(device):
        return torch.bfloat16
    log.warning("precision: this %s has no bfloat16 units, so float32 is used.", device.type)
    return torch.float32


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether bfloat16 is fast here."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = torch.cpu.get_capabilities()
    return any(bool(known.get(name)) for name in ("avx512_bf16", "amx_bf16"))


@contextmanager
def settled(threads: int) -> Iterator[None]:
    """Fix the number of threads and cuDNN's choice of algorithm while the block runs, so that runs repeat bitwise."""
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[1:]


def forget_peak_memory(device: torch.device) -> None:
    """Begin to measure peak memory anew, since one process may train several runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory held so far: of the GPU by tensors, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device: torch.device) -> str:
    """Return what a person calls the device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
