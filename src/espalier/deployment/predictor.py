"""One scan in, one probability per finding out: onnxruntime alone, on the path that the training's scans took."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float32

from espalier.cohort.read import read_path
from espalier.cohort.volume import Volume
from espalier.deployment.bundle import Bundle
from espalier.errors import InputError, MissingError, ScanError
from espalier.geometry import crop_or_pad
from espalier.labels.probabilities import outputs_of, probabilities_of
from espalier.store.preprocess import preprocess, scale_hu

FEWEST_SLICES: Final = 8
"""Fewer slices than this are a localiser or a fragment, never a CT volume."""
LEAST_COVERAGE: Final = 0.4
"""Share of the network's field along its shortest-covered axis that a scan must fill; below it, most input is padding."""

Logits = Float32[np.ndarray, " c"]
Maps = Float32[np.ndarray, "c Z Y X"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What is said of one finding."""

    finding: str
    probability: float
    threshold: float

    @property
    def decision(self) -> Literal["present", "absent"]:
        """`present` from the threshold on."""
        return "present" if self.probability >= self.threshold else "absent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The answer for one scan: a call for every finding, or the reason why there is none."""

    scan: str
    calls: tuple[Call, ...] = ()
    reason: str = ""

    @property
    def result(self) -> Literal["findings", "none"]:
        """`findings`, or `none` where there is only a reason."""
        return "findings" if self.calls else "none"

    def as_json(self) -> dict[str, Any]:
        """Return plain values in the published form: scan, result, reason, findings."""
        findings = [
            {"finding": c.finding, "probability": c.probability, "threshold": c.threshold, "decision": c.decision}
            for c in self.calls
        ]
        return {"scan": self.scan, "result": self.result, "reason": self.reason, "findings": findings}

    def as_lines(self) -> list[str]:
        """Return the same for people to read, one line a finding."""
        if not self.calls:
            return [f"{self.scan}: no result. {self.reason}"]
        width = max(len(c.finding) for c in self.calls)
        lines = [
            f"  {c.finding:<{width}}  {c.probability:.3f}  {c.decision:<7}  (threshold {c.threshold:.3f})" for c in self.calls
        ]
        return [f"{self.scan}: for research, not for diagnosis", *lines]


class Predictor:
    """A bundle's network, loaded once and used for many scans.

    Parameters
    ----------
    bundle
        As `open_bundle` returns it.
    threads
        Processor threads; equal numbers are promised for equal threads.

    Raises
    ------
    MissingError
        When onnxruntime is not installed.
    InputError
        When the network does not fit the bundle's record.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self.bundle = bundle
        self._session = open_session(bundle.model, threads=threads)
        outputs = [o.name for o in self._session.get_outputs()]
        channels = self._session.get_outputs()[0].shape[1]
        if outputs != ["logits", "maps"] or channels != outputs_of(bundle.findings):
            raise InputError(
                bundle.model,
                found=f"outputs {outputs} with {channels} logits",
                expected=f"logits and maps with {outputs_of(bundle.findings)}",
                do="Export the bundle again.",
            )

    def predict(self, path: Path) -> Prediction:
        """Return the answer for a NIfTI file or a folder with a DICOM series.

        A scan that cannot be used gives a prediction without findings and with the reason.

        Raises
        ------
        InputError
            When there is nothing at `path`.
        """
        if not path.exists():
            raise InputError(path, found="no such file or folder", expected="a NIfTI file or a folder", do="Correct the path.")
        try:
            return self.predict_volume(read_path(path), scan=path.name)
        except ScanError as error:
            return Prediction(scan=path.name, reason=_because(error.code, error))
        except InputError as error:
            return Prediction(scan=path.name, reason=_because("not_readable", error))

    def predict_volume(self, volume: Volume, *, scan: str) -> Prediction:
        """Return the answer for a volume; raise `ScanError` where it is too small for one."""
        _check_field(volume, self.bundle, scan)
        logits, _ = self.run(volume)
        if not np.isfinite(logits).all():
            raise ScanError(scan, code="not_finite", found="logits that are no numbers", do="Look at the scan's HU.")
        _, known = probabilities_of(logits[None].astype(np.float64), self.bundle.findings)
        calls = [
            Call(finding=finding, probability=float(probability), threshold=self.bundle.thresholds[finding])
            for finding, probability in zip(self.bundle.findings, known[0], strict=True)
        ]
        return Prediction(scan=scan, calls=tuple(calls))

    def run(self, volume: Volume) -> tuple[Logits, Maps]:
        """Return logits, and the activation maps whose means they are, for the scan's centre."""
        stored = preprocess(volume, self.bundle.store)
        crop = crop_or_pad(stored, self.bundle.crop, outside=float(self.bundle.store.window_hu[0]))
        scaled = scale_hu(crop, self.bundle.store.window_hu)[None, None].astype(np.float32)
        logits, maps = self._session.run(["logits", "maps"], {"voxels": scaled})
        return logits[0], maps[0]


def predict(bundle: Bundle, path: Path, *, threads: int = 1) -> Prediction:
    """Return the answer for one scan; for many scans keep one `Predictor`."""
    return Predictor(bundle, threads=threads).predict(path)


def open_session(model: Path, *, threads: int) -> Any:
    """Return an onnxruntime session on the processor, with so many threads."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError("onnxruntime", found="not installed", do='Install it: pip install "espalier[predict]".') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.as_posix(), options, providers=["CPUExecutionProvider"])


def _check_field(volume: Volume, bundle: Bundle, scan: str) -> None:
    if min(volume.shape) < FEWEST_SLICES:
        raise ScanError(
            scan,
            code="too_few_slices",
            found=f"{min(volume.shape)} slices",
            expected=f"at least {FEWEST_SLICES}",
            do="Choose the whole series.",
        )
    wanted = [side * step for side, step in zip(bundle.crop, bundle.store.spacing_mm, strict=True)]
    fields = sorted(side * step for side, step in zip(volume.shape, volume.spacing_mm, strict=True))
    # Axes of the file may stand in any order: the smallest extents are compared with the smallest.
    for found, needed in zip(fields, sorted(wanted), strict=True):
        if found < LEAST_COVERAGE * needed:
            raise ScanError(
                scan,
                code="too_short",
                found=f"{found:.0f} mm",
                expected=f"at least {LEAST_COVERAGE * needed:.0f} mm, as the network reads {needed:.0f} mm",
                do="Choose the series that covers the whole region.",
            )


def _because(code: str, error: ScanError | InputError) -> str:
    expected = f"; expected {error.expected}" if error.expected else ""
    return f"{code}: {error.found}{expected}. {error.do}".strip()
