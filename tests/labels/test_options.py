from typing import Any

import pytest
from pydantic import TypeAdapter

from espalier.labels.options import LabelOptions


def test_reports_and_a_table_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="reports and table are both given"):
        LabelOptions(reports="a.csv", table="b.csv")


def test_one_column_cannot_be_id_and_text() -> None:
    with pytest.raises(ValueError, match="id_column and text_column are both 'report'"):
        LabelOptions(id_column="report")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="lexicon is empty"):
        LabelOptions(lexicon="")


def test_options_come_from_a_study_file_as_plain_values() -> None:
    options = TypeAdapter(LabelOptions).validate_python({"reports": "r.csv", "uncertain": "soft", "not_mentioned": "ignore"})
    assert (options.uncertain, options.not_mentioned, options.lexicon) == ("soft", "ignore", "ct-rate")


def test_an_encoding_that_python_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="encoding is 'cp9'"):
        LabelOptions(encoding="cp9")
    assert LabelOptions(encoding="latin5").encoding == "latin5"


def test_a_setting_that_names_several_tables_comes_as_a_list() -> None:
    given = {"table": ["a.csv", "b.csv"], "findings": ["Lung nodule"], "uncertain_of": {"Lung nodule": "soft"}}
    options = TypeAdapter(LabelOptions).validate_python(given)
    assert (options.sources, options.findings) == (("a.csv", "b.csv"), ("Lung nodule",))
    assert options.uncertain_of == {"Lung nodule": "soft"}
    assert LabelOptions(reports="r.csv").sources == ("r.csv",)
    assert LabelOptions().sources == ()


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"table": ()}, "table is empty"),
        ({"reports": ("a.csv", "")}, "reports is empty"),
        ({"table": ("a.csv", "a.csv")}, "table names something twice"),
        ({"text_column": ("accession", "report")}, "id_column and text_column are both 'accession'"),
        ({"findings": "some"}, "findings is a word"),
        ({"uncertain": "maybe"}, "uncertain is 'maybe': one of ones, zeros, ignore, soft"),
        ({"uncertain_of": {"nodule": "maybe"}}, "uncertain_of 'nodule' is 'maybe': one of ones"),
        ({"not_mentioned_of": {"nodule": "soft"}}, "not_mentioned_of 'nodule' is 'soft': one of zeros, ignore"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_refused(own: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LabelOptions(**own)
