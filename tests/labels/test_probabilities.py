import numpy as np
import pytest

from espalier.errors import InputError
from espalier.labels.findings import FINDINGS
from espalier.labels.probabilities import outputs_of, probabilities_of

RATIC = FINDINGS["ratic"]


def test_findings_of_the_chest_are_yes_or_no_each_by_itself() -> None:
    logits, probabilities = probabilities_of(np.array([[0.0, 2.0], [-800.0, 800.0]]), ("nodule", "emphysema"))
    np.testing.assert_allclose(probabilities, [[0.5, 1 / (1 + np.exp(-2))], [0.0, 1.0]])
    assert logits.tolist() == [[0.0, 2.0], [-800.0, 800.0]]


def test_grades_of_one_organ_add_up_to_one() -> None:
    logits = np.random.default_rng(0).normal(size=(5, outputs_of(RATIC)))
    _, probabilities = probabilities_of(logits, RATIC)
    for organ in ("bowel", "extravasation", "kidney", "liver", "spleen"):
        columns = [f for f, name in enumerate(RATIC) if name.startswith(organ)]
        np.testing.assert_allclose(probabilities[:, columns].sum(axis=1), 1)


def test_any_injury_is_derived_from_the_healthy_probabilities_and_has_no_logit() -> None:
    logits, probabilities = probabilities_of(np.zeros((1, 13)), RATIC)
    assert probabilities[0, -1] == pytest.approx(1 - (1 / 2) ** 2 * (1 / 3) ** 3)
    assert np.isnan(logits[0, -1])


def test_logits_that_do_not_fit_the_findings_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 logits.*expected 2"):
        probabilities_of(np.zeros((1, 3)), ("nodule", "emphysema"))
