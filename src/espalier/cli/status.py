"""`espalier status STUDY`."""

from espalier.cli.speak import Told
from espalier.cli.study_file import Changes, StudyPath
from espalier.pipeline.status import at_work, status_rows
from espalier.study import read_study


def status(study: StudyPath, *, changes: Changes = ()) -> Told:
    """Tell from the files alone what is done, what is set aside, what is left and how long that will take."""
    read = read_study(study, changes=changes)
    rows, holder = status_rows(read), at_work(read.folder)
    lines = [f"{row['stage']:<10} {row['state']:<8} {row['words']}" for row in rows]
    if holder is not None:
        lines.append(f"At work now: {holder}.")
    return Told(lines=tuple(lines), data={"stages": rows, "at_work": holder})
