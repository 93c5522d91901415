"""`espalier new STUDY --from RECIPE`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from espalier.cli.speak import Told
from espalier.errors import UseError
from espalier.outputs import written_whole
from espalier.study import recipe_text


def new(study: Path, *, recipe: Annotated[str, Parameter(name="--from")] = "chest") -> Told:
    """Write a commented study file from a shipped recipe; an existing file is never overwritten."""
    if study.exists():
        raise UseError(
            study, found="the file exists already", expected="a new name", do="Name another file, or remove this one."
        )
    text = recipe_text(recipe)
    with written_whole(study) as partial:
        partial.write_text(text, encoding="utf-8")
    lines = (f"Wrote {study} from the recipe {recipe}. Set its paths, then:", f"Next: espalier run {study}")
    return Told(lines=lines, data={"study": str(study), "recipe": recipe, "next": f"espalier run {study}"})
