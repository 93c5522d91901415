"""What a glance at the whole scan can tell: next to nothing about injuries that have look-alikes."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient

QUICK = PhantomOptions(pixels=36, slice_mm=(10.0, 10.0), seed=11)
BINS_HU = np.concatenate([[-2000, -940], np.linspace(-900, -150, 8), np.linspace(-120, 330, 19), [4000]])
INJURIES = ("bowel_injury", "extravasation_injury", "kidney_healthy", "liver_healthy", "spleen_healthy")


def test_hu_histogram_and_volumes_do_not_tell_the_injuries() -> None:
    features, labels = [], []
    for number in range(300):
        patient = make_patient(number, QUICK)
        scan = patient.scans[0]
        volumes = np.bincount(scan.masks.ravel(), minlength=6)[1:] * np.prod(scan.series.grid.spacing_mm)
        features.append([*np.histogram(scan.hu, BINS_HU)[0] / scan.hu.size, *volumes])
        labels.append([patient.truth.findings[name] for name in INJURIES])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    auroc = []
    for name, label in zip(INJURIES, np.array(labels).T, strict=True):
        scores = cross_val_predict(model, np.array(features), label, cv=folds, method="decision_function")
        auroc.append(roc_auc_score(label, scores))
        assert auroc[-1] < 0.66, name
    assert np.mean(auroc) < 0.60
