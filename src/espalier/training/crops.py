"""Batches of crops, read from the store while the last one is learned from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from espalier.masks.disturb import GrossFault, disturb_boundary, draw_fault
from espalier.store.preprocess import scale_hu
from espalier.training.inputs import Inputs
from espalier.training.options import TrainingOptions
from espalier.training.order import Box, centre_crop, crop_and_jitter, scan_seed

AHEAD: Final = 2
MASKS_COUNTED: Final = 256
"""Masks from which the volume of structures is estimated; enough, and a bound on the wait before training."""

Job = TypeVar("Job")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from; `masks` is None where no scan of the batch has any."""

    voxels: Float[Tensor, "b 1 z y x"]
    targets: Float[Tensor, "b f"]
    weights: Float[Tensor, "b f"]
    masks: UInt8[Tensor, "b z y x"] | None
    mask_weights: Float[Tensor, " b"]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; the weights of the masks stay, as they choose what is computed."""
        if device.type == "cpu":
            return self
        masks = None if self.masks is None else self.masks.to(device, non_blocking=True)
        voxels, targets, weights = (t.to(device, non_blocking=True) for t in (self.voxels, self.targets, self.weights))
        return Batch(voxels, targets, weights, masks, self.mask_weights)


def training_batch(inputs: Inputs, options: TrainingOptions, *, seed: int, epoch: int, numbers: Sequence[int]) -> Batch:
    """Return the random crops of some training scans, a pure function of its arguments."""
    shape, crop = inputs.store.options.shape, options.crop
    voxels = np.empty((len(numbers), 1, *crop), dtype=np.float32)
    masks = np.zeros((len(numbers), *crop), dtype=np.uint8)
    weights = np.zeros(len(numbers), dtype=np.float32)
    for place, number in enumerate(numbers):
        box, factor, shift = crop_and_jitter(shape, crop, seed=seed, epoch=epoch, index=number, jitter=options.intensity_jitter)
        voxels[place, 0] = _voxels(inputs, inputs.train.scans[number], box)
        if options.intensity_jitter:
            voxels[place] = voxels[place] * np.float32(factor) + np.float32(shift)
        other = inputs.masks_of[number]
        if other is not None:
            fault = fault_of(inputs, options, other, seed)
            masks[place] = mask_crop(inputs, other, box, disturb=options.supervision.disturb, fault=fault)
            weights[place] = inputs.mask_weights[number]
    chosen = list(numbers)
    return Batch(
        torch.from_numpy(voxels),
        torch.from_numpy(inputs.train.targets[chosen]),
        torch.from_numpy(inputs.train.weights[chosen]),
        torch.from_numpy(masks) if weights.any() else None,
        torch.from_numpy(weights),
    )


def centre_batch(inputs: Inputs, options: TrainingOptions, scans: Sequence[str]) -> Float[Tensor, "b 1 z y x"]:
    """Return the centre crops of some scans."""
    box = centre_crop(inputs.store.options.shape, options.crop)
    return torch.from_numpy(np.stack([_voxels(inputs, scan, box) for scan in scans])[:, None])


def fault_of(inputs: Inputs, options: TrainingOptions, scan: str, seed: int) -> GrossFault | None:
    """Return the gross fault of a scan's masks in a run of this seed, or None."""
    kind, share = options.supervision.gross_fault, options.supervision.gross_share
    if kind is None:
        return None
    return draw_fault(kind, inputs.structures, inputs.store.options.spacing_mm, share=share, seed=seed, scan=scan)


def mask_crop(
    inputs: Inputs, scan: str, box: Box, *, disturb: float = 0.0, fault: GrossFault | None = None
) -> UInt8[np.ndarray, "z y x"]:
    """Return a crop of a scan's masks in the branch's numbers.

    Faults belong to the scan: every crop shows the same disturbed masks, so it is drawn with one voxel around.
    """
    if disturb <= 0:
        return _masks(inputs, scan, box, fault)
    wide = tuple(
        slice(max(0, side.start - 1), min(have, side.stop + 1))
        for side, have in zip(box, inputs.store.options.shape, strict=True)
    )
    around = _masks(inputs, scan, (wide[0], wide[1], wide[2]), fault)
    origin = (wide[0].start, wide[1].start, wide[2].start)
    moved = disturb_boundary(around, share=disturb, seed=scan_seed(scan), origin=origin)
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
    return np.ascontiguousarray(moved[inner])


def _masks(inputs: Inputs, scan: str, box: Box, fault: GrossFault | None) -> UInt8[np.ndarray, "z y x"]:
    """Return masks in the branch's numbers with a gross fault, background where they were moved away from the edge."""
    if fault is None or not any(fault.step):
        masks = inputs.values[inputs.store.masks(scan, box)]
        return masks if fault is None else fault.values[masks]
    out = np.zeros([side.stop - side.start for side in box], dtype=np.uint8)
    read, write = [], []
    for side, step, have in zip(box, fault.step, inputs.store.options.shape, strict=True):
        first, last = max(0, side.start - step), min(have, side.stop - step)
        if first >= last:
            return out
        read.append(slice(first, last))
        write.append(slice(first + step - side.start, last + step - side.start))
    out[tuple(write)] = fault.values[inputs.values[inputs.store.masks(scan, (read[0], read[1], read[2]))]]
    return out


def class_weights(inputs: Inputs, power: float) -> Float32[np.ndarray, " s"]:
    """Return weights of background and structures by the inverse of their volume to a power; 1 for a voxel on average.

    The volume is counted in the first masks by id; a structure that none of them shows gets the largest weight.
    """
    voxels = np.zeros(len(inputs.structures) + 1)
    for scan in islice(sorted({scan for scan in inputs.masks_of if scan is not None}), MASKS_COUNTED):
        voxels += np.bincount(inputs.values[inputs.store.masks(scan)].ravel(), minlength=len(voxels))
    share = voxels / voxels.sum()
    weights = np.where(share > 0, share, share[share > 0].min()) ** -power
    return (weights / (weights * share).sum()).astype(np.float32)


def ahead(jobs: Iterable[Job], work: Callable[[Job], Answer]) -> Iterator[Answer]:
    """Yield `work(job)` for each job in order, the next few being worked on in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        rest = iter(jobs)
        waiting: list[Future[Answer]] = [pool.submit(work, job) for job in islice(rest, AHEAD)]
        try:
            while waiting:
                answer = waiting.pop(0).result()
                waiting += [pool.submit(work, job) for job in islice(rest, 1)]
                yield answer
        finally:
            for future in waiting:
                future.cancel()


def _voxels(inputs: Inputs, scan: str, box: Box) -> Float32[np.ndarray, "z y x"]:
    return scale_hu(inputs.store.voxels(scan, box), inputs.store.options.window_hu)
