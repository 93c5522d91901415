"""`espalier prepare STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, On, SitePath, StudyPath, Workers, place_of
from espalier.pipeline import stages
from espalier.study import read_study


def prepare(
    study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS, on: On = "local", site: SitePath = None
) -> Told:
    """Resample scans and masks once into the store that training reads."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "prepare", workers=workers, place=place_of(on, site)), next_command=f"espalier train {study}")
