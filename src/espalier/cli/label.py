"""`espalier label STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def label(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Read findings from the reports, and divide the patients into training, validation and test."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "label", workers=workers), next_command=f"espalier segment {study}")
