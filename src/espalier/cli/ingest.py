"""`espalier ingest STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, On, SitePath, StudyPath, Workers, place_of
from espalier.pipeline import stages
from espalier.study import read_study


def ingest(
    study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS, on: On = "local", site: SitePath = None
) -> Told:
    """Find every scan, check it, and set the unsound ones aside with their reasons."""
    read = read_study(study, changes=changes)
    return told(stages.do(read, "ingest", workers=workers, place=place_of(on, site)), next_command=f"espalier label {study}")
