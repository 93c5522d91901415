"""`espalier label STUDY`, and what goes with labels: audits, the check of a lexicon, suggestions for one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.errors import DONE, FAILED, UseError
from espalier.pipeline import audit as audits
from espalier.pipeline import stages
from espalier.pipeline.words import model_cost, suggestions
from espalier.study import StudyFile, read_study

Flag = Annotated[bool, Parameter(negative=())]


def label(
    study: StudyPath | None = None,
    *,
    changes: Changes = (),
    workers: Workers = WORKERS,
    check: str | None = None,
    suggest: Flag = False,
    audit: int | None = None,
    blind: Flag = False,
    audit_score: Path | None = None,
    dry_run: Flag = False,
) -> Told:
    """Read findings from the reports, and divide the patients into training, validation and test.

    Parameters
    ----------
    check
        Instead: run the examples of this lexicon (ct-rate, rad-chestct, ratic, ct-rate-de, or a TOML file) and look for
        words in it that can do nothing.
    suggest
        Instead: list words near a finding's words that no rule matched, of at least three different reports.
    audit
        Draw about this many labels of each finding for people to read again, into a folder audit/1, audit/2, ….
    blind
        With --audit: hide what the rules said.
    audit_score
        Read the filled table of an audit back (audit/1), and say how good the labels are.
    dry_run
        Instead: tell in how many requests, tokens, time and money the language model of [labels.model] would be asked.
    """
    if check is not None:
        return _checked(check)
    if study is None:
        raise UseError("label", found="no study", expected="a study file, or --check LEXICON", do="Name one of them.")
    read = read_study(study, changes=changes)
    if blind and audit is None:
        raise UseError("--blind", found="no --audit", expected="both", do="Add --audit 90.")
    if suggest:
        return _suggested(read, workers)
    if dry_run:
        cost = model_cost(read, workers=workers)
        return Told(lines=(f"label: {cost.words}.", f"Next: espalier label {study}"), data=asdict(cost))
    if audit_score is not None:
        return _scored(read, audit_score)
    if audit is not None:
        drawn = audits.draw(read, cells=audit, blind=blind, workers=workers)
        follows = f"espalier label {study} --audit-score {drawn.wrote[0].parent.relative_to(read.folder)}"
        return told(drawn, next_command=follows)
    follows = f"espalier segment {study}" if read.study.cohort else f"espalier show {read.folder / 'labels.parquet'}"
    return told(stages.do(read, "label", workers=workers), next_command=follows)


def _checked(lexicon: str) -> Told:
    from espalier.labels.check import check_lexicon

    report = check_lexicon(lexicon, folder=Path())
    data = {
        "lexicon": report.lexicon,
        "sound": report.sound,
        "examples": report.examples,
        "misread": [[one.text, one.finding, one.expected, one.found] for one in report.misread],
        "problems": [[one.line, one.words] for one in report.problems],
        "notes": list(report.notes),
    }
    return Told(lines=report.lines, data=data, exit_code=DONE if report.sound else FAILED)


def _suggested(study: StudyFile, workers: int) -> Told:
    found = suggestions(study, workers=workers)
    lines = tuple(f"{one.reports:>6}  {one.finding:<34} {one.words}" for one in found)
    data = {"suggestions": [[one.finding, one.words, one.reports] for one in found]}
    return Told(lines=lines or ("Nothing stands in three reports.",), data=data)


def _scored(study: StudyFile, path: Path) -> Told:
    from espalier.labels.audit_words import data_of, lines_of

    score = audits.score(study, path)
    return Told(lines=tuple(lines_of(score)), data={"audit": data_of(score)})
