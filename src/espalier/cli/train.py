"""`espalier train STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def train(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Train every arm with every seed; called again, it goes on where it stopped."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "train", workers=workers), next_command=f"espalier evaluate {study}")
