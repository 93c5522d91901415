"""`espalier run STUDY`."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Changes, On, SitePath, StudyPath, Workers, place_of
from espalier.engines.place import Place
from espalier.pipeline import stages
from espalier.study import StudyFile, read_study


def run(
    study: StudyPath,
    *,
    changes: Changes = (),
    workers: Workers = WORKERS,
    on: On = "local",
    site: SitePath = None,
    plan: Annotated[bool, Parameter(negative=())] = False,
) -> Told:
    """Go the whole way, from scans and reports to a deployed classifier; called again, it goes on where it stopped.

    Parameters
    ----------
    plan
        Instead: say how many hours, how much disk and how much memory each stage will take. Nothing is begun.
    """
    read, place = read_study(study, changes=changes), place_of(on, site)
    if plan:
        return _planned(read, place, workers)
    summaries = stages.run(read, workers=workers, place=place)
    page = f"The comparison: {read.folder / 'comparison' / 'report.html'}"
    bundle = read.folder / read.study.export.folder
    return told(*summaries, more=[page], next_command=f"espalier predict {bundle} SCAN", already_said=True)


def _planned(study: StudyFile, place: Place, workers: int) -> Told:
    from espalier.pipeline.plan import plan, room_left

    rows, room = plan(study, workers=workers, place=place), room_left(study.folder)
    wanted = sum(row.disk_gb or 0.0 for row in rows)
    lines = [f"{row.stage:<10} {row.words}" for row in rows]
    lines.append(f"An estimate. Disk: {wanted:.1f} GB wanted at most, {room:.1f} GB free.")
    if wanted > room:
        lines.append("There is not enough room: free some, or lay the study on another disk.")
    lines.append(f"Next: espalier run {study.path}")
    return Told(lines=tuple(lines), data={"plan": [asdict(row) for row in rows], "disk_free_gb": room, "estimate": True})
