"""`espalier predict BUNDLE SCAN`."""

from pathlib import Path

from espalier.cli.speak import Told


def predict(bundle: Path, scan: Path, *, threads: int = 1) -> Told:
    """Classify one scan (a NIfTI file, or a folder with a DICOM series) with an exported bundle; torch is not needed.

    Parameters
    ----------
    bundle
        The folder that `espalier export` wrote.
    scan
        A NIfTI file, or a folder with one DICOM series.
    threads
        Processor threads for the network.
    """
    from espalier.deployment.bundle import open_bundle
    from espalier.deployment.predictor import predict as predict_scan

    prediction = predict_scan(open_bundle(bundle), scan, threads=threads)
    return Told(lines=tuple(prediction.as_lines()), data=prediction.as_json())
