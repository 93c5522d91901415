"""`espalier run STUDY`."""

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, StudyPath, Workers
from espalier.pipeline import stages
from espalier.study import read_study


def run(study: StudyPath, *, changes: Changes = (), workers: Workers = WORKERS) -> Told:
    """Go the whole way, from scans and reports to a deployed classifier; called again, it goes on where it stopped."""
    read = read_study(study, changes=changes)
    summaries = stages.run(read, workers=workers)
    page = f"The comparison: {read.folder / 'comparison' / 'report.html'}"
    bundle = read.folder / read.study.export.folder
    return told(*summaries, more=[page], next_command=f"espalier predict {bundle} SCAN", already_said=True)
