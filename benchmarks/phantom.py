"""What a made-up scan costs, and how little its HU histogram and structure volumes tell of each finding.

Usage: python benchmarks/phantom.py OUT.json [--scans 1500]
"""

import argparse
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from espalier.outputs import write_json
from espalier.phantom.findings import FINDINGS, Anatomy
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import Patient, make_patient

BINS_HU = np.concatenate([[-2000, -940], np.linspace(-900, -150, 11), np.linspace(-120, 330, 31), [4000]])
ANATOMIES: tuple[Anatomy, ...] = ("trauma", "chest")


def features(patient: Patient) -> list[float]:
    """Return the HU histogram as shares, and the volume of each structure in ml."""
    scan = patient.scans[0]
    volumes = np.bincount(scan.masks.ravel(), minlength=7)[1:7] * np.prod(scan.series.grid.spacing_mm) / 1000
    return [*np.histogram(scan.hu, BINS_HU)[0] / scan.hu.size, *volumes]


def seconds_a_scan(anatomy: Anatomy, patients: int = 20) -> float:
    """Return CPU seconds for one scan of the demo's size, drawn and not written."""
    options = PhantomOptions(anatomy=anatomy, pixels=76, slice_mm=(5.0, 5.0))
    make_patient(0, options)
    start = time.process_time()
    scans = sum(len(make_patient(number, options).scans) for number in range(1, patients + 1))
    return (time.process_time() - start) / scans


def shortcut_auroc(anatomy: Anatomy, scans: int) -> dict[str, float]:
    """Return per finding the cross-validated AUROC of a logistic regression on the features."""
    options = PhantomOptions(anatomy=anatomy, pixels=48, slice_mm=(8.0, 8.0), seed=11)
    patients = [make_patient(number, options) for number in range(scans)]
    known = np.array([features(patient) for patient in patients])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    auroc = {}
    for name in FINDINGS[anatomy]:
        label = np.array([patient.truth.findings[name] for patient in patients])
        scores = cross_val_predict(model, known, label, cv=folds, method="decision_function")
        auroc[name] = round(float(roc_auc_score(label, scores)), 3)
    return auroc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scans", type=int, default=1500)
    asked = parser.parse_args()
    rows = []
    for anatomy in ANATOMIES:
        cost = round(seconds_a_scan(anatomy), 4)
        rows.append({"what": f"{anatomy} scan, drawn", "ours": cost, "other": None, "ratio": None, "unit": "CPU s"})
        for name, value in shortcut_auroc(anatomy, asked.scans).items():
            what = f"{anatomy} {name} from HU histogram and volumes"
            rows.append({"what": what, "ours": value, "other": 0.5, "ratio": round(value / 0.5, 3), "unit": "AUROC"})
            print(f"{what:75s} {value:.3f}")
    settings = {"scans": asked.scans, "pixels": 48, "slice_mm": 8.0, "seed": 11}
    about = {"machine": f"{platform.machine()}, {platform.system()}", "date": datetime.now(UTC).date().isoformat()}
    write_json(asked.out, {**about, "settings": settings, "rows": rows}, kind="benchmark")


if __name__ == "__main__":
    main()
