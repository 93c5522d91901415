"""`espalier segment STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def segment(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Give every scan its anatomy masks."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "segment", workers=workers), next_command=f"espalier prepare {study}")
