"""The arguments that every verb on a study shares."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

StudyPath = Annotated[Path, Parameter(help="The study file, or the folder it lies in.")]
Changes = Annotated[
    tuple[str, ...],
    Parameter(name="--set", help="Change one setting: --set training.epochs=2", negative=(), consume_multiple=False),
]
Workers = Annotated[int, Parameter(help="Processes side by side; changes no result.")]
WORKERS = os.cpu_count() or 1
