"""`espalier compare STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def compare(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Compare the arms in pairs, with intervals, and write the page."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "compare", workers=workers), next_command=f"espalier export {study}")
