"""A language model and a trauma lexicon: structures are asked, and the columns of RATIC that come out fit together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cli.main import main
from espalier.errors import SettingsError
from espalier.labels.answers import Answer
from espalier.labels.findings import RATIC_COLUMNS
from espalier.labels.label import EVIDENCE, read_labels
from espalier.labels.language import read_language
from espalier.labels.language_model import ModelSummary, with_model
from espalier.labels.model_trauma import GRADED_STATES, STRUCTURES, with_structures
from espalier.labels.model_work import estimate_study
from espalier.labels.options import LabelOptions
from espalier.labels.prompt import STATES
from espalier.labels.reading import Reading, read_all

from .stub_model import Sent, Stub, answers, asked, options, said, stub

REPORT = "Deep laceration of the right liver lobe. Possible splenic injury. Kidneys are normal. No free air. No extravasation."
SAID = {
    "liver": ("high", "Deep laceration of the right liver lobe"),
    "spleen": ("uncertain", "Possible splenic injury"),
    "kidney": ("absent", "Kidneys are normal"),
    "bowel": ("absent", "No free air"),
    "extravasation": ("absent", "No extravasation"),
}
GROUPS = {structure: [column for column in RATIC_COLUMNS if column.startswith(f"{structure}_")] for structure in STRUCTURES}


def ask(folder: Path, server: Stub, *texts: str, **more: Any) -> tuple[list[Reading], ModelSummary]:
    own = options(server.url, **more)
    return with_model(texts, read_all(texts, lexicon="ratic"), options=own, lexicon="ratic", folder=folder)


def telling(own: Mapping[str, tuple[str, str]]) -> Any:
    return lambda request, _: said(answers(request, own))


def fit(states: Mapping[str, str]) -> bool:
    """Say whether one column of each structure is present where the structure is certain, and none is where it is not."""
    for own in GROUPS.values():
        told = [states[column] for column in own]
        if told[0] in {"present", "absent"} and (told.count("present") != 1 or set(told) != {"present", "absent"}):
            return False
        if told[0] == "uncertain" and (told.count("uncertain") != 2 or "present" in told):
            return False
        if told[0] in {"not_mentioned", "failed"} and len(set(told)) > 1:
            return False
    return True


def test_structures_are_asked_and_their_columns_come_out_whole(tmp_path: Path) -> None:
    with stub(telling(SAID)) as server:
        (reading,), summary = ask(tmp_path, server, REPORT)
    assert [sorted(asked(request)) for request in server.requests] == [sorted(STRUCTURES)]
    present = {name for name, state in reading.states.items() if state == "present"}
    assert present == {"liver_high", "kidney_healthy", "bowel_healthy", "extravasation_healthy", "any_injury"}
    uncertain = {name for name, state in reading.states.items() if state == "uncertain"}
    assert uncertain == {"spleen_healthy", "spleen_low"}
    assert tuple(reading.states) == RATIC_COLUMNS
    assert fit(reading.states)
    assert {(m.finding, m.state, reading.evidence(m)) for m in reading.mentions} == {
        ("liver_high", "present", "Deep laceration of the right liver lobe"),
        ("spleen_low", "uncertain", "Possible splenic injury"),
        ("kidney_healthy", "present", "Kidneys are normal"),
        ("bowel_healthy", "present", "No free air"),
        ("extravasation_healthy", "present", "No extravasation"),
    }
    assert {m.rule for m in reading.mentions} == {"model stub"}
    assert (summary.asked, dict(summary.without)) == (5, {})


def test_the_model_is_told_the_grades_and_may_answer_only_with_them(tmp_path: Path) -> None:
    with stub(telling(SAID)) as server:
        ask(tmp_path, server, REPORT)
    system, user = (message["content"] for message in server.requests[0]["messages"])
    assert "low, high, absent, uncertain, not_mentioned or present" in system
    assert "never present: say low or high" in system
    (liver,) = (line for line in user.splitlines() if line.startswith("- liver:"))
    assert "low = AAST grade I to III" in liver
    assert "high = AAST grade IV or V" in liver
    (bowel,) = (line for line in user.splitlines() if line.startswith("- bowel:"))
    assert "AAST" not in bowel
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]["properties"]
    assert schema["liver"]["properties"]["state"]["enum"] == list(GRADED_STATES)
    assert schema["bowel"]["properties"]["state"]["enum"] == list(STATES)


def test_chest_findings_are_told_of_no_grades(tmp_path: Path) -> None:
    text = "No nodules."
    with stub() as server:
        own = options(server.url)
        with_model([text], read_all([text], lexicon="ct-rate"), options=own, lexicon="ct-rate", folder=tmp_path)
    system = server.requests[0]["messages"][0]["content"]
    assert '"state": "<present, absent, uncertain or not_mentioned>"' in system
    assert "low" not in system.split()


@pytest.mark.parametrize(
    "wrong",
    [("present", SAID["liver"][1]), ("grade IV", SAID["liver"][1]), ("high", "Grade IV laceration of the liver"), ("high", "")],
)
def test_an_answer_of_no_grade_or_without_its_words_fails_for_the_whole_structure(
    wrong: tuple[str, str], tmp_path: Path
) -> None:
    with stub(telling({**SAID, "liver": wrong, "spleen": ("not_mentioned", "")})) as server:
        (reading,), summary = ask(tmp_path, server, REPORT)
    assert asked(server.requests[1]) == ["liver"]
    assert {reading.states[column] for column in GROUPS["liver"]} == {"failed"}
    # Nobody knows now whether there is an injury.
    assert reading.states["any_injury"] == "failed"
    assert fit(reading.states)
    assert summary.without == {"no_state" if wrong[0] not in GRADED_STATES else "no_quote": 1}


def test_without_any_answer_all_weigh_nothing(tmp_path: Path) -> None:
    with stub(lambda *_: Sent(b"", status=400)) as server:
        (reading,), _ = ask(tmp_path, server, REPORT)
    assert set(reading.states.values()) == {"failed"}


def test_rules_first_asks_only_the_structures_that_they_leave_open(tmp_path: Path) -> None:
    both = "Laceration of the liver, grade II. The liver is intact. Spleen: grade IV laceration."
    with stub(telling({"liver": ("low", "Laceration of the liver, grade II")})) as server:
        (first, second), _ = ask(tmp_path, server, REPORT, both, order="rules first")
    assert sorted(asked(request) for request in server.requests) == [["liver"], ["spleen"]]
    assert first.states["spleen_healthy"] == "not_mentioned"
    assert first.states["liver_low"] == "present"
    assert second.states["liver_low"] == second.states["spleen_high"] == second.states["any_injury"] == "present"
    assert {m.rule for m in second.mentions if m.finding.startswith("liver")} == {"model stub"}
    assert fit(first.states)
    assert fit(second.states)


def test_an_uncertain_injury_keeps_the_grade_that_the_rules_saw(tmp_path: Path) -> None:
    text = "Grade IV laceration of the spleen cannot be excluded."
    with stub(telling({"spleen": ("uncertain", text)})) as server:
        (reading,), _ = ask(tmp_path, server, text)
    assert (reading.states["spleen_high"], reading.states["spleen_low"]) == ("uncertain", "absent")


@pytest.mark.parametrize(
    ("order", "structures"),
    [(("liver",), ["liver"]), (("spleen_high", "bowel_injury"), ["bowel", "spleen"]), (("any_injury",), sorted(STRUCTURES))],
)
def test_a_list_names_structures_or_columns(order: tuple[str, ...], structures: list[str], tmp_path: Path) -> None:
    with stub(telling({})) as server:
        ask(tmp_path, server, REPORT, order=order)
    assert [sorted(asked(request)) for request in server.requests] == [structures]


def test_a_structure_may_be_defined_in_words_of_the_study(tmp_path: Path) -> None:
    with stub(telling({})) as server:
        ask(tmp_path, server, REPORT, definitions={"Liver": "injury of the liver, gallbladder included"})
    told = server.requests[0]["messages"][1]["content"]
    assert "- liver: injury of the liver, gallbladder included, in place of present: low = AAST grade I to III" in told


@pytest.mark.parametrize("name", ["liver_high", "any_injury", "liever"])
def test_a_definition_of_what_is_not_asked_is_refused(name: str, tmp_path: Path) -> None:
    with stub() as server, pytest.raises(SettingsError, match="liver"):
        ask(tmp_path, server, REPORT, definitions={name: "x"})
    assert server.requests == []


def test_kept_answers_about_structures_are_not_asked_again(tmp_path: Path) -> None:
    with stub(telling(SAID)) as server:
        first, _ = ask(tmp_path, server, REPORT)
        second, summary = ask(tmp_path, server, REPORT)
    assert len(server.requests) == 1
    assert second == first
    assert summary.kept == 5


def test_a_trauma_study_with_a_model_is_labelled_estimated_and_audited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reports.csv").write_text(f'accession,report\nA1,"{REPORT}"\nA2,No injury.\n', encoding="utf-8")
    with stub(telling(SAID)) as server:
        model = f'[labels.model]\nurl = "{server.url}"\nname = "stub"\norder = ["liver", "spleen"]\n'
        (tmp_path / "study.toml").write_text(f'[labels]\nreports = "reports.csv"\nlexicon = "ratic"\n{model}', encoding="utf-8")
        assert (
            estimate_study(
                LabelOptions(reports="reports.csv", lexicon="ratic", model=options(server.url)), folder=tmp_path
            ).findings
            == 10
        )
        for more in ([], ["--audit", "3"]):
            with pytest.raises(SystemExit) as ended:
                main(["label", str(tmp_path / "study.toml"), *more])
            assert ended.value.code == 0, capsys.readouterr().err
    rows = read_labels(tmp_path).filter(pl.col("report") == "A1")
    told = {finding: (target, weight) for finding, target, weight in rows.select("finding", "target", "weight").iter_rows()}
    assert [told[f"liver_{kind}"] for kind in ("healthy", "low", "high")] == [(0.0, 1.0), (0.0, 1.0), (1.0, 1.0)]
    for own in GROUPS.values():
        assert sum(told[column][0] for column in own) == 1.0
    text = pl.read_parquet(tmp_path / EVIDENCE).filter(pl.col("rule") == "model stub")["evidence"].to_list()
    assert SAID["liver"][1] in text
    assert (tmp_path / "audit" / "1" / "sheet.html").is_file()


ENGLISH = read_language()
(READ,) = read_all([REPORT], lexicon="ratic")


@settings(deadline=None)
@given(st.data())
def test_columns_fit_together_whatever_is_answered(data: st.DataObject) -> None:
    told: dict[str, Answer | None] = {}
    for structure in data.draw(st.sets(st.sampled_from(STRUCTURES))):
        states = STATES if structure in {"bowel", "extravasation"} else GRADED_STATES
        state = data.draw(st.sampled_from([*states, None]))
        told[structure] = Answer(state, *((0, 0) if state == "not_mentioned" else (0, 4))) if state else None
    out = with_structures(READ, told, rule="model m", language=ENGLISH)
    assert fit(out.states)
    injured = {out.states[f"{structure}_healthy"] for structure in STRUCTURES}
    assert (out.states["any_injury"] == "present") == ("absent" in injured)
    assert (out.states["any_injury"] == "failed") == ("failed" in injured and "absent" not in injured)
