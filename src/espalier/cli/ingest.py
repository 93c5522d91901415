"""`espalier ingest STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def ingest(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Find every scan, check it, and set the unsound ones aside with their reasons."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "ingest", workers=workers), next_command=f"espalier label {study}")
