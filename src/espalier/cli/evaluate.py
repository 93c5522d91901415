"""`espalier evaluate STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, On, SitePath, StudyPath, Workers, place_of
from espalier.pipeline import stages
from espalier.study import read_study


def evaluate(
    study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS, on: On = "local", site: SitePath = None
) -> Told:
    """Predict the validation and test scans of every run, and measure."""
    read = read_study(study, changes=changes)
    return told(
        stages.do(read, "evaluate", workers=workers, place=place_of(on, site)), next_command=f"espalier compare {study}"
    )
