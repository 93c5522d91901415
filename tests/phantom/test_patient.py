"""One body in every series; masks and look-alikes know nothing of findings; anatomy lies where it belongs."""

from dataclasses import replace

import numpy as np
import pytest

from espalier.geometry import direction_of, resample
from espalier.phantom.draw import make_canvas
from espalier.phantom.findings import FINDINGS, LOOK_ALIKES, SOLID, Anatomy
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import PAINT, Patient, Scan, make_patient
from espalier.phantom.scanner import body_box, draw_girth, draw_series
from espalier.phantom.streams import Streams

QUICK = PhantomOptions(pixels=36, slice_mm=(10.0, 10.0), seed=5)
ANATOMIES: tuple[Anatomy, ...] = ("trauma", "chest")


def cohort(options: PhantomOptions, count: int) -> list[Patient]:
    return [make_patient(number, options) for number in range(count)]


def centre_mm(scan: Scan, value: int) -> np.ndarray:
    """Return the world position of the middle of a mask."""
    index = np.mean(np.nonzero(scan.masks == value), axis=1)
    return (scan.series.grid.affine @ np.array([*index, 1.0]))[:3]


@pytest.fixture(scope="module")
def trauma() -> list[Patient]:
    return cohort(QUICK, 40)


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_a_patient_depends_on_seed_and_number_only(anatomy: Anatomy) -> None:
    options = replace(QUICK, anatomy=anatomy)
    again = make_patient(3, replace(options, patients=7, form="dicom", test=2))
    one = make_patient(3, options)
    other = make_patient(3, replace(options, seed=6))
    assert one.truth == again.truth
    assert one.report == again.report
    assert (one.scans[0].hu == again.scans[0].hu).all()
    assert one.scans[0].hu.shape != other.scans[0].hu.shape or (one.scans[0].hu != other.scans[0].hu).any()


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_two_series_of_a_study_show_the_same_body(anatomy: Anatomy) -> None:
    options = replace(QUICK, anatomy=anatomy, slice_mm=(5.0, 8.0), pixels=48, prevalence=0.9)
    patient = next(p for p in (make_patient(n, options) for n in range(60)) if len(p.scans) == 2)
    first, second = patient.scans
    assert {scan.series.kernel for scan in patient.scans} == {"soft", "sharp"}
    assert first.series.slice_mm != second.series.slice_mm
    onto = first.series.grid
    masks = resample(second.masks, second.series.grid.affine, onto=onto, kind="nearest", outside=0)
    same = (masks > 0) & (masks == first.masks)
    assert same.sum() > 0.85 * (first.masks > 0).sum()
    hu = resample(second.hu, second.series.grid.affine, onto=onto, kind="linear", outside=-1000)
    inside = slice(2, -2)
    assert np.corrcoef(hu[inside].ravel(), first.hu[inside].ravel())[0, 1] > 0.97
    assert np.median(np.abs(hu[inside] - first.hu[inside])) < 40


def test_masks_and_look_alikes_do_not_depend_on_injuries() -> None:
    for number in range(4):
        well, hurt = (make_patient(number, replace(QUICK, prevalence=p)) for p in (0.0, 1.0))
        assert well.truth.findings["any_injury"] == 0
        assert hurt.truth.findings["any_injury"] == 1
        assert (well.scans[0].masks == hurt.scans[0].masks).all()
        assert well.truth.look_alikes == hurt.truth.look_alikes
        assert (well.scans[0].hu != hurt.scans[0].hu).any()


def test_look_alikes_of_the_chest_do_not_depend_on_findings() -> None:
    options = replace(QUICK, anatomy="chest")
    names = [set(LOOK_ALIKES["chest"]) & set(p.truth.look_alikes) for p in cohort(replace(options, prevalence=0.0), 4)]
    assert names == [set(p.truth.look_alikes) for p in cohort(replace(options, prevalence=1.0), 4)]


def test_structures_lie_on_their_side_however_the_patient_lies_in_the_scanner(trauma: list[Patient]) -> None:
    scans = [patient.scans[0] for patient in trauma]
    liver, spleen, left, right = (np.array([centre_mm(scan, value) for scan in scans]) for value in (1, 2, 3, 4))
    assert (spleen[:, 0] > liver[:, 0] + 50).all()
    assert (left[:, 0] > right[:, 0] + 50).all()
    assert (liver[:, 1] < right[:, 1]).mean() > 0.9
    positions = {scan.series.position for scan in scans}
    assert positions == {"HFS", "FFS"}
    tilted = [scan for scan in scans if 0 < np.abs(direction_of(scan.series.grid.affine)[1, 0]) < 0.2]
    assert 1 <= len(tilted) <= 14


def test_labels_have_the_form_of_ratic_and_the_asked_prevalence(trauma: list[Patient]) -> None:
    columns = np.array([list(p.truth.findings.values()) for p in trauma])
    assert (columns[:, 0] + columns[:, 1] == 1).all()
    assert (columns[:, 2] + columns[:, 3] == 1).all()
    for first in (4, 7, 10):
        assert (columns[:, first : first + 3].sum(axis=1) == 1).all()
    healthy = columns[:, [0, 2, 4, 7, 10]]
    assert (columns[:, 13] == (healthy.min(axis=1) == 0)).all()
    assert 0.15 < 1 - healthy.mean() < 0.35
    for patient in trauma:
        for name in SOLID:
            grade = int(patient.truth.details.get(f"{name}_grade", 0))
            stated = "healthy" if grade == 0 else "low" if grade <= 3 else "high"
            assert patient.truth.findings[f"{name}_{stated}"] == 1


def test_a_laceration_makes_its_own_structure_darker_and_no_other() -> None:
    changed = dict.fromkeys(("liver", "spleen", "kidney"), 0)
    for number in range(12):
        well, hurt = (make_patient(number, replace(QUICK, prevalence=p)) for p in (0.0, 0.3))
        change = hurt.scans[0].hu.astype(float) - well.scans[0].hu
        masks = well.scans[0].masks
        for name, values in (("liver", (1,)), ("spleen", (2,)), ("kidney", (3, 4))):
            darker_ml = (np.isin(masks, values) & (change < -40)).sum() * np.prod(well.scans[0].series.grid.spacing_mm) / 1000
            injured = f"{name}_grade" in hurt.truth.details
            changed[name] += injured
            assert darker_ml > 1.5 if injured else darker_ml < 1.0 or hurt.truth.findings["bowel_injury"]
    assert min(changed.values()) >= 1


def test_chest_findings_show_in_hu_and_anatomy() -> None:
    options = replace(QUICK, anatomy="chest")
    many = cohort(options, 60)
    ratio = {0: [], 1: []}
    for patient in many:
        volumes = np.bincount(patient.scans[0].masks.ravel(), minlength=7)
        ratio[patient.truth.findings["cardiomegaly"]].append(volumes[6] / volumes[1:6].sum())
        assert tuple(patient.truth.findings) == FINDINGS["chest"]
    assert np.median(ratio[1]) > 1.2 * np.median(ratio[0])


def test_lobes_lie_as_in_a_body() -> None:
    for patient in cohort(replace(QUICK, anatomy="chest", prevalence=0.0), 6):
        scan = patient.scans[0]
        upper_left, lower_left, upper_right, middle, lower_right, heart = (centre_mm(scan, value) for value in range(1, 7))
        assert upper_left[0] > heart[0] - 10 > middle[0]
        assert upper_left[2] > lower_left[2]
        assert upper_right[2] > middle[2] > lower_right[2] - 30
        assert lower_right[1] > middle[1]


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_no_part_of_the_body_lies_outside_the_box_that_is_drawn(anatomy: Anatomy) -> None:
    options, drawn = replace(QUICK, anatomy=anatomy), []
    for number in range(8):
        streams = Streams(options.seed, number)
        series = draw_series(streams.rng("series"), options)[0]
        girth = draw_girth(streams.rng("size"), anatomy)
        whole = make_canvas(series.grid, series.pose, hu=-1000)
        body = PAINT[anatomy](whole, girth, streams, 0.25).body
        box = body_box(series, girth, anatomy)
        drawn.append(body[box].size / body.size)
        body[box] = 0
        assert body.max() == 0
    assert np.mean(drawn) < {"trauma": 0.9, "chest": 1.0}[anatomy]
