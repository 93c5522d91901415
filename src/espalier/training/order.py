"""Which scan, which crop, which jitter: pure functions of seed, epoch and index, so that a run can go on anywhere.

Nothing here knows arms: two arms of one seed see the same scans and crops in the same order.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Int

from espalier.errors import InputError
from espalier.geometry import Shape
from espalier.outputs import safe_id

Box = tuple[slice, slice, slice]
SCANS: Final = 0
CROPS: Final = 1
STEPS: Final = 2
OTHERS: Final = 3


def scan_order(scans: int, *, seed: int, epoch: int) -> Int[np.ndarray, " scans"]:
    """Return the order in which an epoch visits the scans."""
    return np.random.default_rng([SCANS, seed, epoch]).permutation(scans)


def batches_of(scans: int, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Return the epoch's whole batches as scan numbers; with fewer scans than a batch, all of them in one."""
    order = scan_order(scans, seed=seed, epoch=epoch).tolist()
    steps = steps_in_epoch(scans, batch_size)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def steps_in_epoch(scans: int, batch_size: int) -> int:
    """Return the number of batches in an epoch."""
    return max(1, scans // batch_size)


def crop_and_jitter(
    shape: Shape, crop: Shape, *, seed: int, epoch: int, index: int, jitter: float = 0.0
) -> tuple[Box, float, float]:
    """Return where to crop a scan, and the factor and the shift for its scaled voxels.

    Parameters
    ----------
    shape, crop
        Of the stored scan and of the crop, z, y, x.
    seed, epoch, index
        The run's seed, the epoch, and the scan's number among the training scans.
    jitter
        Largest distance of the factor from 1 and of the shift from 0.
    """
    random = np.random.default_rng([CROPS, seed, epoch, index])
    starts = random.integers(0, np.subtract(shape, crop) + 1)
    factor, shift = random.uniform(-1, 1, size=2) * jitter
    z, y, x = (slice(int(start), int(start) + side) for start, side in zip(starts, crop, strict=True))
    return (z, y, x), 1.0 + float(factor), float(shift)


def centre_crop(shape: Shape, crop: Shape) -> Box:
    """Return the crop that validation, evaluation and deployment read."""
    starts = [(have - want) // 2 for have, want in zip(shape, crop, strict=True)]
    z, y, x = (slice(start, start + side) for start, side in zip(starts, crop, strict=True))
    return z, y, x


def step_seed(seed: int, step: int) -> int:
    """Return the seed for all that a network draws in one step (dropout, stochastic depth)."""
    return int(np.random.SeedSequence([STEPS, seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def scan_seed(scan: str) -> int:
    """Return the seed of what belongs to a scan alone, as the disturbance of its masks."""
    return int(safe_id("scan", scan), 16) >> 1


def exchange(patients: Mapping[str, str], *, seed: int) -> dict[str, str]:
    """Return for each scan a scan of another patient, each used once: the placebo's masks.

    Scans are shuffled patient by patient and turned by the largest number of scans that one patient has, which no
    scan can survive beside its own patient.

    Parameters
    ----------
    patients
        The patient of each training scan that has masks.
    seed
        The run's seed.

    Raises
    ------
    InputError
        When there is no such exchange: one patient has more than half of the scans.
    """
    by_patient: dict[str, list[str]] = {}
    for scan in sorted(patients):
        by_patient.setdefault(patients[scan], []).append(scan)
    most = max((len(scans) for scans in by_patient.values()), default=0)
    if most == 0 or 2 * most > len(patients):
        raise InputError(
            "[training.supervision] masks_of",
            found=f"{len(patients)} training scans with masks, of which one patient has {most}",
            expected="at most half of them from one patient",
            do='Add patients, or take masks_of = "own scan".',
        )
    random = np.random.default_rng([OTHERS, seed])
    names = sorted(by_patient)
    shuffled: list[str] = []
    for number in random.permutation(len(names)).tolist():
        shuffled += _shuffled(by_patient[names[number]], random)
    return dict(zip(shuffled, shuffled[most:] + shuffled[:most], strict=True))


def _shuffled(scans: Sequence[str], random: np.random.Generator) -> list[str]:
    return [scans[i] for i in random.permutation(len(scans)).tolist()]
