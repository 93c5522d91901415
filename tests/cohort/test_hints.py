from espalier.cohort.hints import PLAIN, Hints, hints_for, hints_text, read_hints
from espalier.cohort.options import CohortOptions


def test_hints_come_back_as_they_were_written_and_usual_ones_are_empty() -> None:
    told = Hints(missing_slice="interpolate", spacing_mm=(0.8, 0.8, 0.8), axes="IPL", affine=tuple(map(float, range(16))))
    assert read_hints(hints_text(told)) == told
    assert hints_text(PLAIN) == ""
    assert read_hints("") == read_hints(None) == PLAIN


def test_a_scan_gets_only_the_decisions_that_concern_its_format_and_its_own_go_first() -> None:
    options = CohortOptions(sources=("a",), missing_slice="interpolate", npz_spacing_mm=(1.0, 1.0, 1.0), npz_axes="SPL")
    assert read_hints(hints_for("dicom", options)) == Hints(missing_slice="interpolate")
    assert hints_for("nifti", options) == ""
    own = '{"spacing_mm": [0.8, 0.8, 0.8], "axes": "IPL"}'
    assert read_hints(hints_for("npz", options, own)) == Hints(spacing_mm=(0.8, 0.8, 0.8), axes="IPL")
