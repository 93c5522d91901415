"""`espalier recipe list` and `espalier recipe show NAME`."""

from typing import Final

from cyclopts import App

from espalier.cli.speak import Told
from espalier.study import recipe_names, recipe_text

app: Final = App(name="recipe", help="List and show the shipped recipes.", result_action="return_value")


@app.command(name="list")
def list_recipes() -> Told:
    """List the shipped recipes with their first line."""
    described = {name: recipe_text(name).splitlines()[0].lstrip("# ") for name in recipe_names()}
    return Told(lines=tuple(f"{name:<16} {words}" for name, words in described.items()), data={"recipes": described})


@app.command
def show(name: str) -> Told:
    """Print one recipe as it would be written."""
    text = recipe_text(name)
    return Told(lines=(text.rstrip(),), data={"name": name, "text": text})
