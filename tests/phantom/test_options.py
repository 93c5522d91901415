"""Options of a cohort are checked where they are made."""

import pytest

from espalier.phantom.findings import TRAUMA, Truth
from espalier.phantom.options import PhantomOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("patients", 0),
        ("seed", -1),
        ("prevalence", 1.2),
        ("test", 41),
        ("pixels", 8),
        ("slice_mm", (5.0, 2.0)),
        ("slice_mm", (0.2, 2.0)),
    ],
)
def test_a_wrong_option_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} is "):
        PhantomOptions(**{name: value})


def test_a_truth_names_every_finding_and_known_look_alikes_once() -> None:
    findings = dict.fromkeys(TRAUMA, 0)
    with pytest.raises(ValueError, match=r"^findings are"):
        Truth(anatomy="trauma", findings={"bowel_injury": 1})
    for wrong in (("unicorn",), ("gallbladder", "gallbladder")):
        with pytest.raises(ValueError, match=r"^look_alikes are"):
            Truth(anatomy="trauma", findings=findings, look_alikes=wrong)
