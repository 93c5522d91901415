"""`espalier export STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def export(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Write the bundle that is deployed: the classifier alone, without torch and without the branch."""
    read = read_study(study, changes=changes)
    bundle = read.folder / read.study.export.folder
    return told(stages.do(read, "export", workers=workers), next_command=f"espalier predict {bundle} SCAN")
