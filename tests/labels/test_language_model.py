import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from espalier.errors import ResourceError, SettingsError
from espalier.labels.language_model import GIVE_UP_AFTER, ModelSummary, with_model
from espalier.labels.model_cache import CACHE
from espalier.labels.model_work import estimate, estimate_study, work_of
from espalier.labels.options import LabelOptions, LanguageModelOptions
from espalier.labels.reading import Reading, read_all
from espalier.settings import parse

from .stub_model import REPORT, SAID, Sent, Stub, answers, asked, honest, options, said, stub

LEXICON = """
[set]
name = "three"
[finding.pleural_effusion]
phrases = ["pleural effusion*"]
[finding.lung_nodule]
phrases = ["nodule*", "nodul* ..2 lung"]
[finding.atelectasis]
phrases = ["atelecta*"]
"""
FINDINGS = ("pleural_effusion", "lung_nodule", "atelectasis")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "three.toml").write_text(LEXICON, encoding="utf-8")
    return tmp_path


def ask(folder: Path, own: LanguageModelOptions, *texts: str, **more: Any) -> tuple[list[Reading], ModelSummary]:
    readings = read_all(texts, lexicon="three.toml", folder=folder)
    return with_model(texts, readings, options=own, lexicon="three.toml", folder=folder, **more)


def findings_asked(server: Stub) -> list[list[str]]:
    return [sorted(asked(request)) for request in server.requests]


def test_answers_take_the_place_of_the_rules_with_the_words_they_rest_on(folder: Path) -> None:
    with stub() as server:
        (reading,), summary = ask(folder, options(server.url), REPORT)
    assert reading.states == {name: state for name, (state, _) in SAID.items()}
    told = {m.finding: reading.evidence(m) for m in reading.mentions}
    assert told == {name: quote.replace("pleural eff", "pleural\neff") for name, (_, quote) in SAID.items()}
    assert all(m.rule == "model stub" and m.sentence == (m.start, m.end) for m in reading.mentions)
    assert (summary.asked, summary.kept, summary.calls, summary.repaired, dict(summary.without)) == (3, 0, 1, 0, {})
    assert (summary.tokens_in, summary.tokens_out) == (100, 10)


def test_the_model_is_told_what_each_finding_means(folder: Path) -> None:
    with stub() as server:
        ask(folder, options(server.url, definitions={"Lung nodule": "up to 30 mm, {round}"}), REPORT)
    told = server.requests[0]["messages"][1]["content"]
    assert REPORT in told
    assert "- lung_nodule: up to 30 mm, {round}" in told
    assert "- pleural_effusion: pleural effusion" in told
    assert "- atelectasis: atelectasis (as in: atelecta)" in told


def test_rules_first_asks_what_they_leave_uncertain_or_both_state_and_deny(folder: Path) -> None:
    both = "A nodule in the left lung. No nodules on the right. No pleural effusion."
    with stub(lambda request, _: said(answers(request, {"lung_nodule": ("present", "A nodule in the left lung")}))) as server:
        readings, _ = ask(folder, options(server.url, order="rules first"), REPORT, both, "No nodules. No atelectasis.")
    assert sorted(findings_asked(server)) == [["atelectasis"], ["lung_nodule"]]
    assert readings[0].states == {"pleural_effusion": "present", "lung_nodule": "absent", "atelectasis": "not_mentioned"}
    assert [m.rule for m in readings[1].mentions if m.finding == "lung_nodule"] == ["model stub"]
    assert [m.rule.partition(":")[0] for m in readings[1].mentions if m.finding != "lung_nodule"] == ["pleural_effusion"]


def test_a_list_of_findings_leaves_the_others_to_the_rules(folder: Path) -> None:
    with stub() as server:
        (reading,), _ = ask(folder, options(server.url, order=("Lung nodule",)), REPORT)
    assert findings_asked(server) == [["lung_nodule"]]
    assert {m.rule.partition(":")[0] for m in reading.mentions} == {"model stub", "pleural_effusion", "atelectasis"}


def test_findings_that_do_not_count_are_not_asked(folder: Path) -> None:
    with stub() as server:
        ask(folder, options(server.url), REPORT, findings=iter(["atelectasis"]))
    assert findings_asked(server) == [["atelectasis"]]


@pytest.mark.parametrize("setting", [{"order": ("lung_nodul",)}, {"definitions": {"lung_nodul": "x"}}])
def test_an_unknown_finding_is_named_with_the_nearest(folder: Path, setting: dict[str, Any]) -> None:
    with stub() as server, pytest.raises(SettingsError, match="lung_nodule"):
        ask(folder, options(server.url, **setting), REPORT)
    assert server.requests == []


def test_a_report_without_words_is_not_asked(folder: Path) -> None:
    with stub() as server:
        readings, _ = ask(folder, options(server.url), "", " -- ")
    assert server.requests == []
    assert {state for reading in readings for state in reading.states.values()} == {"failed"}


def test_findings_go_in_groups_and_equal_reports_once(folder: Path) -> None:
    with stub() as server:
        readings, summary = ask(folder, options(server.url, group=2), REPORT, "No nodules here.", REPORT)
    assert sorted(map(len, findings_asked(server))) == [1, 1, 2, 2]
    assert readings[0] == readings[2]
    assert summary.asked == 6


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ("I cannot say.", "no_json"),
        ('{"pleural_effusion": ', "no_json"),
        (json.dumps({"pleural_effusion": {"evidence": "x", "state": "yes"}}), "no_state"),
        (json.dumps({name: {"evidence": "Large mass in the right lung", "state": "present"} for name in FINDINGS}), "no_quote"),
        (json.dumps({name: {"evidence": "", "state": "absent"} for name in FINDINGS}), "no_quote"),
    ],
)
def test_an_answer_that_cannot_be_used_is_mended_once_and_else_failed(folder: Path, first: str, fault: str) -> None:
    with stub(lambda request, number: said(first) if number == 1 else honest(request, number)) as server:
        (reading,), summary = ask(folder, options(server.url), REPORT)
    assert reading.states == {name: state for name, (state, _) in SAID.items()}
    assert (summary.calls, summary.repaired, summary.tokens_out) == (2, 1, 20)
    assert server.requests[1]["messages"][2] == {"role": "assistant", "content": first}
    (folder / CACHE).unlink()
    with stub(lambda *_: said(first)) as server:
        (reading,), summary = ask(folder, options(server.url), REPORT)
    assert reading.states == dict.fromkeys(FINDINGS, "failed")
    assert reading.mentions == ()
    assert dict(summary.without) == {fault: 3}
    assert len(server.requests) == 2


def test_only_what_is_faulty_is_asked_again(folder: Path) -> None:
    bad = {**SAID, "lung_nodule": ("present", "A nodule of 8 mm")}
    with stub(lambda request, number: said(answers(request, bad)) if number == 1 else honest(request, number)) as server:
        (reading,), _ = ask(folder, options(server.url), REPORT)
    assert findings_asked(server) == [sorted(FINDINGS), ["lung_nodule"]]
    assert list(server.requests[1]["response_format"]["json_schema"]["schema"]["properties"]) == ["lung_nodule"]
    assert reading.states["lung_nodule"] == "absent"


def test_kept_answers_are_not_asked_again_and_a_new_finding_is_asked_alone(folder: Path) -> None:
    with stub() as server:
        before, _ = ask(folder, options(server.url), REPORT)
    (folder / "three.toml").write_text(LEXICON + '[finding.emphysema]\nphrases = ["emphysema"]\n', encoding="utf-8")
    with stub() as server:
        (reading,), summary = ask(folder, options(server.url), REPORT)
        assert findings_asked(server) == [["emphysema"]]
        assert summary.kept == 3
        again, _ = ask(folder, options(server.url), REPORT)
        assert len(server.requests) == 1
    assert again == [reading]
    assert reading.mentions == before[0].mentions


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"seed": 1},
        {"max_tokens": 9},
        {"extra": {"top_k": 1}},
        {"definitions": dict.fromkeys(FINDINGS, "else")},
    ],
)
def test_what_an_answer_depends_on_makes_it_anew(folder: Path, change: dict[str, Any]) -> None:
    with stub() as server:
        ask(folder, options(server.url), REPORT)
        ask(folder, options(server.url, group=1, parallel=1, timeout_s=9.0), REPORT)
        assert len(server.requests) == 1
        ask(folder, options(server.url, **change), REPORT)
        assert len(server.requests) == 2
        ask(folder, options(server.url), REPORT + " ")
        assert len(server.requests) == 3


def test_what_failed_is_not_kept(folder: Path) -> None:
    with stub(lambda *_: said("no")) as server:
        ask(folder, options(server.url), REPORT)
    with stub() as server:
        (reading,), _ = ask(folder, options(server.url), REPORT)
    assert reading.states["pleural_effusion"] == "present"


def test_the_cache_holds_no_word_of_a_report(folder: Path) -> None:
    with stub() as server:
        ask(folder, options(server.url), REPORT)
    content = (folder / CACHE).read_bytes()
    assert b"present" in content
    assert b"Small left" not in content
    assert b"nodule" not in content


def test_an_endpoint_that_is_gone_stops_the_run_and_labels_nothing_absent(folder: Path) -> None:
    with stub() as server:
        pass
    with pytest.raises(ResourceError, match="same command again") as caught:
        ask(folder, options(server.url, retries=0), REPORT)
    assert "effusion" not in str(caught.value)


def test_one_report_that_is_refused_costs_only_its_own_labels(folder: Path) -> None:
    def say(request: dict[str, Any], number: int) -> Sent:
        return Sent(b"", status=400) if "too long" in request["messages"][1]["content"] else honest(request, number)

    with stub(say) as server:
        readings, summary = ask(folder, options(server.url), "No nodules, but too long.", REPORT)
    assert readings[0].states == dict.fromkeys(FINDINGS, "failed")
    assert readings[1].states["pleural_effusion"] == "present"
    assert dict(summary.without) == {"refused": 3}
    assert "refused, perhaps as too long" in summary.words


def test_a_server_that_refuses_everything_stops_the_run(folder: Path) -> None:
    texts = [f"No nodules, {n} mm." for n in range(3 * GIVE_UP_AFTER)]
    with stub(lambda *_: Sent(b"", status=422)) as server, pytest.raises(SettingsError, match="refused the first 8"):
        ask(folder, options(server.url, parallel=1), *texts)
    assert len(server.requests) <= 3 * (GIVE_UP_AFTER + 3)


def test_a_server_that_dies_on_the_way_stops_the_run_and_its_answers_are_kept(folder: Path) -> None:
    texts = [f"No nodules, {n} mm." for n in range(20)]

    def say(request: dict[str, Any], number: int) -> Sent:
        return honest(request, number) if number <= 5 else Sent(b"", status=503)

    with stub(say) as server, pytest.raises(ResourceError, match="overloaded"):
        ask(folder, options(server.url, parallel=1, retries=0), *texts)
    with stub() as server:
        _, summary = ask(folder, options(server.url), *texts)
    assert (summary.kept, len(server.requests)) == (15, 15)


def test_requests_run_side_by_side(folder: Path) -> None:
    meet = threading.Barrier(3, timeout=20)

    def say(request: dict[str, Any], number: int) -> Sent:
        meet.wait()
        return honest(request, number)

    with stub(say) as server:
        readings, _ = ask(folder, options(server.url, parallel=3), *(f"No nodules, {n} mm." for n in range(3)))
    assert {reading.states["lung_nodule"] for reading in readings} == {"absent"}


def test_a_killed_run_keeps_its_answers(folder: Path) -> None:
    texts = [f"No nodules, {n} mm." for n in range(6)]
    killed = threading.Event()

    def say(request: dict[str, Any], number: int) -> Sent:
        if number == 4:
            os.kill(running.pid, signal.SIGKILL)
            killed.set()
        return honest(request, number)

    code = (
        "import json, sys; from pathlib import Path; from espalier.labels.language_model import with_model\n"
        "from espalier.labels.reading import read_all; from espalier.labels.options import LanguageModelOptions\n"
        "texts = json.loads(sys.argv[1]); folder = Path(sys.argv[2])\n"
        "readings = read_all(texts, lexicon='three.toml', folder=folder)\n"
        "own = LanguageModelOptions(url=sys.argv[3], name='stub', order='model only', parallel=1)\n"
        "with_model(texts, readings, options=own, lexicon='three.toml', folder=folder)\n"
    )
    with stub(say) as server:
        running = subprocess.Popen([sys.executable, "-c", code, json.dumps(texts), str(folder), server.url])
        assert running.wait(60) == -signal.SIGKILL
        assert killed.is_set()
    with stub() as server:
        readings, _ = ask(folder, options(server.url), *texts)
    assert 1 <= len(server.requests) <= 4
    assert [reading.states["lung_nodule"] for reading in readings] == ["absent"] * 6


def test_nothing_of_a_report_or_key_reaches_a_log_or_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_KEY", "sk-canary-4711")
    report = "Patient Zebulon Quartermain. " + REPORT
    told = []
    with caplog.at_level(logging.DEBUG):
        for say in (
            honest,
            lambda *_: said("Zebulon Quartermain"),
            lambda *_: Sent(b"Zebulon", status=500),
            lambda *_: Sent(b"Zebulon", status=404),
        ):
            with stub(say) as server:
                try:
                    told.append(ask(folder, options(server.url, api_key_env="MODEL_KEY", retries=0), report)[1].words)
                except (ResourceError, SettingsError) as error:
                    told.append(str(error))
            (folder / CACHE).unlink(missing_ok=True)
    out, err = capfd.readouterr()
    assert len(told) == 4
    for words in (*told, caplog.text, out, err):
        assert "Zebulon" not in words
        assert "4711" not in words
        assert "effusion" not in words


def test_an_estimate_counts_what_is_left_and_asks_nothing(folder: Path) -> None:
    texts = (REPORT, REPORT, "No nodules here.")
    with stub() as server:
        own = options(server.url, group=2, tokens_per_s=100.0, price_in=1.0, price_out=10.0)
        readings = read_all(texts, lexicon="three.toml", folder=folder)

        def reckon() -> Any:
            return estimate(work_of(texts, readings, options=own, lexicon="three.toml", folder=folder), own)

        before = reckon()
        assert server.requests == []
        assert not (folder / CACHE).exists()
        ask(folder, own, REPORT)
        after = reckon()
    assert (before.reports, before.findings, before.calls, before.kept) == (2, 6, 4, 0)
    letters = sum(len(m["content"]) for r in server.requests for m in r["messages"])
    assert before.tokens_in == pytest.approx(2 * letters / 4, rel=0.05)
    assert before.seconds == (before.tokens_in + before.tokens_out) / 100
    assert before.price == pytest.approx((before.tokens_in + 10 * before.tokens_out) / 1e6)
    assert (after.reports, after.findings, after.kept) == (1, 3, 3)
    assert "letters / 4" in before.words


def test_an_estimate_without_speed_or_price_says_so(folder: Path) -> None:
    own = options("http://127.0.0.1:1/v1")
    work = work_of(
        [REPORT], read_all([REPORT], lexicon="three.toml", folder=folder), options=own, lexicon="three.toml", folder=folder
    )
    words = estimate(work, own).words
    assert "without tokens_per_s" in words
    assert "without price_in" in words


def test_a_study_is_estimated_from_its_table_of_reports(folder: Path) -> None:
    (folder / "reports.csv").write_text("accession,report\nA1,No nodules.\nA2,No nodules today.\nA3,\n", encoding="utf-8")
    own = LabelOptions(reports="reports.csv", lexicon="three.toml", model=options("http://127.0.0.1:1/v1"))
    assert estimate_study(own, folder=folder).findings == 6
    assert estimate_study(replace(own, findings=("Lung nodule",)), folder=folder).findings == 2
    with pytest.raises(SettingsError, match="no model"):
        estimate_study(replace(own, model=None), folder=folder)


def test_a_study_file_says_it_all() -> None:
    model = {
        "url": "http://127.0.0.1:8000/v1",
        "name": "qwen",
        "order": ["lung_nodule"],
        "definitions": {"lung_nodule": "round"},
        "extra": {"chat_template_kwargs": {"enable_thinking": False}},
        "parallel": 2,
        "timeout_s": 60,
        "price_in": 0,
    }
    read = parse(LabelOptions, {"reports": "r.csv", "model": model}, source="study.toml").model
    assert read is not None
    assert (read.order, read.timeout_s, read.definitions) == (("lung_nodule",), 60.0, {"lung_nodule": "round"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"urll": "x"}, "Did you mean url"),
        ({"order": "rules frist"}, "order"),
        ({"order": []}, "order is empty"),
        ({"name": ""}, "name is empty"),
        ({"parallel": 0}, "parallel is 0"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"retries": -1}, "retries is -1"),
        ({"price_in": -1.0}, "price_in"),
        ({"extra": {"messages": []}}, "extra sets messages"),
        ({"extra": {"day": __import__("datetime").date(2026, 1, 1)}}, "JSON does not know"),
        ({"url": "http://elsewhere.example/v1"}, "allow_remote"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(change: dict[str, Any], says: str) -> None:
    model = {"url": "http://127.0.0.1:8000/v1", "name": "m", **change}
    with pytest.raises(SettingsError, match=says):
        parse(LabelOptions, {"reports": "r.csv", "model": model}, source="study.toml")


def test_a_model_needs_reports_to_read() -> None:
    with pytest.raises(ValueError, match="model is given without reports"):
        LabelOptions(table="labels.csv", model=options("http://127.0.0.1:1/v1"))
