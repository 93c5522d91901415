"""`espalier status STUDY`."""

from espalier.cli.speak import Told
from espalier.cli.study_file import Changes, StudyPath
from espalier.pipeline.status import status_rows
from espalier.study import read_study


def status(study: StudyPath, *, changes: Changes = ()) -> Told:
    """Tell from the files alone what is done, what is set aside and what is left."""
    rows = status_rows(read_study(study, changes=changes))
    lines = tuple(f"{row['stage']:<10} {row['state']:<8} {row['words']}" for row in rows)
    return Told(lines=lines, data={"stages": rows})
