"""`espalier train STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, On, SitePath, StudyPath, Workers, place_of
from espalier.pipeline import stages
from espalier.study import read_study


def train(
    study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS, on: On = "local", site: SitePath = None
) -> Told:
    """Train every arm with every seed; called again, it goes on where it stopped."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "train", workers=workers, place=place_of(on, site)), next_command=f"espalier evaluate {study}")
