"""The audit of a study: labels brought up to date and drawn for people to read again, and their answers scored."""

from pathlib import Path
from typing import TYPE_CHECKING

from espalier.outputs import locked, sweep
from espalier.pipeline import stages
from espalier.stage import Summary
from espalier.study import StudyFile

if TYPE_CHECKING:
    from espalier.labels.audit_score import Score


def draw(study: StudyFile, *, cells: int, blind: bool, workers: int) -> Summary:
    """Draw about `cells` labels of each finding into a new folder `audit/<n>`, once the labels are up to date."""
    from espalier.labels.audit import draw_audit

    stages.do(study, "label", workers=workers)
    pseudonyms = study.study.cohort.pseudonyms if study.study.cohort else None
    with locked(study.folder):
        sweep(study.folder)
        return draw_audit(study.label_options(), folder=study.folder, cells=cells, blind=blind, pseudonyms=pseudonyms)


def score(study: StudyFile, path: Path) -> "Score":
    """Read the filled table of an audit back; `path` may be relative to the study's folder."""
    from espalier.labels.audit import score_audit

    return score_audit(path if path.exists() else study.folder / path)
