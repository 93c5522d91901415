"""`espalier evaluate STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def evaluate(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Predict the validation and test scans of every run, and measure."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "evaluate", workers=workers), next_command=f"espalier compare {study}")
