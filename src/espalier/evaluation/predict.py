"""A run's logits: its weights, and the centre of every scan in the store. The only file here that loads torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from espalier.errors import AlteredError, InputError, SettingsError
from espalier.geometry import Shape
from espalier.networks.classifier import Classifier, build_classifier
from espalier.networks.weights import load_weights
from espalier.outputs import hash_file
from espalier.store.preprocess import scale_hu
from espalier.training.options import TrainingOptions

if TYPE_CHECKING:
    from espalier.store.read import Store

Logits = Float[np.ndarray, "n c"]


def load_classifier(weights: Path, *, options: TrainingOptions, findings: int, expected_hash: str) -> Classifier:
    """Return a run's network with its trained weights, ready to predict, on the accelerator where there is one.

    Raises
    ------
    AlteredError
        When the weights are gone or differ from the hash that the run recorded.
    InputError
        When they are those of another network.
    """
    if not weights.is_file() or hash_file(weights) != expected_hash:
        found = "its bytes differ from the run's record" if weights.is_file() else "the file is gone"
        raise AlteredError(weights, found=found, expected=expected_hash[:12] + "…", do="Copy the run again, or train it anew.")
    classifier = build_classifier(
        options.network, findings=findings, crop=options.crop, size=options.network_size, seed=0, pretrained=None
    )
    try:
        classifier.load_state_dict(load_weights(weights))
    except RuntimeError as error:
        raise InputError(
            weights,
            found=f"weights that do not fit {options.network} with {findings} outputs",
            do="Train the run again with the present version.",
        ) from error
    return classifier.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def predict_logits(
    classifier: Classifier, store: "Store", scans: Sequence[str], *, crop: Shape, batch_size: int, threads: int
) -> Iterator[Logits]:
    """Yield the logits of one batch of scans after the other, in float32.

    Parameters
    ----------
    classifier
        As from `load_classifier`.
    store
        Where the scans' voxels are (HU).
    scans
        Ids, in the order of the logits.
    crop
        Voxels along z, y, x that the network sees: the centre of each scan (Li et al. 2025, evaluation).
    batch_size
        Scans at once.
    threads
        Of the processor.

    Raises
    ------
    InputError
        When a logit is not a finite number.
    """
    box = centre_box(store.options.shape, crop)
    device = next(classifier.parameters()).device
    with _repeatable(threads):
        for start in range(0, len(scans), batch_size):
            batch = scans[start : start + batch_size]
            hu = np.stack([store.voxels(scan, box) for scan in batch])
            scaled = torch.from_numpy(scale_hu(hu, store.options.window_hu))[:, None].to(device)
            with torch.inference_mode():
                logits, _ = classifier(scaled)
            out = logits.float().cpu().numpy()
            finite = np.isfinite(out).all(axis=1)
            if not finite.all():
                raise InputError(
                    "the run's network",
                    found=f"a logit that is not a finite number, for scan {batch[int(np.argmin(finite))]}",
                    do="The training has diverged: train the run again with a lower learning rate.",
                )
            yield out


def centre_box(shape: Shape, crop: Shape) -> tuple[slice, slice, slice]:
    """Return the box of `crop` voxels around the centre of `shape`; raise `SettingsError` where it does not fit."""
    if any(want > have for want, have in zip(crop, shape, strict=True)):
        raise SettingsError(
            "[training] crop",
            found=f"{crop} voxels, larger than the store's {shape}",
            do="Choose a smaller crop, or a larger [store] shape.",
        )
    z, y, x = (slice((have - want) // 2, (have - want) // 2 + want) for have, want in zip(shape, crop, strict=True))
    return z, y, x


@contextmanager
def _repeatable(threads: int) -> Iterator[None]:
    """Fix the number of threads and cuDNN's choice of algorithm, so that predictions repeat to the last bit."""
    cudnn = torch.backends.cudnn
    before = torch.get_num_threads(), cudnn.deterministic, cudnn.benchmark
    torch.set_num_threads(threads)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]
