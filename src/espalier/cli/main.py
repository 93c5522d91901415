"""The `espalier` command: finds the verb, prints what it returns, turns every error into one sentence."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from espalier import __version__
from espalier.cli import (
    compare,
    demo,
    doctor,
    evaluate,
    export,
    forget,
    ingest,
    label,
    new,
    phantom,
    predict,
    prepare,
    recipe,
    run,
    segment,
    show,
    status,
    train,
    verify,
)
from espalier.cli.speak import complain, say
from espalier.errors import DONE, FAILED, WRONG_USE, EspalierError

HELP: Final = """Train CT diagnosis models against a lattice of free anatomy, and prove whether the lattice helped.

Every verb takes --json (the same as data on stdout) and --debug (tracebacks).
Exit codes: 0 done, 1 failed, 2 wrong use, 3 done with scans set aside.
"""
VERBS: Final = (
    run.run,
    ingest.ingest,
    label.label,
    segment.segment,
    prepare.prepare,
    train.train,
    evaluate.evaluate,
    compare.compare,
    export.export,
    predict.predict,
    demo.demo,
    phantom.phantom,
    new.new,
    status.status,
    show.show,
    verify.verify,
    forget.forget,
    doctor.doctor,
)


def build() -> App:
    """Return the command line as a cyclopts application."""
    app = App(name="espalier", help=HELP, version=__version__, result_action="return_value")
    for verb in VERBS:
        app.command(verb)
    app.command(recipe.app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and leave with its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json, debug = "--json" in tokens, "--debug" in tokens
    tokens = [t for t in tokens if t not in {"--json", "--debug"}]
    if debug:
        os.environ["ESPALIER_DEBUG"] = "1"  # so that worker processes print their tracebacks too
    sys.exit(_run(tokens, as_json=as_json, debug=debug))


def _run(tokens: list[str], *, as_json: bool, debug: bool) -> int:
    try:
        result = build()(tokens, exit_on_error=False, print_error=False)
        return say(result, as_json=as_json) if result is not None else DONE
    except EspalierError as error:
        if debug:
            raise
        return complain(error, as_json=as_json)
    except CycloptsError as error:
        print(f"espalier: {error} See `espalier --help`.", file=sys.stderr)
        return WRONG_USE
    except BrokenPipeError:
        # The reader of our output has left (`| head`); what was asked for is done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("espalier: stopped; the same command goes on from here.", file=sys.stderr)
        return FAILED
    except Exception as error:
        if debug:
            raise
        print(
            f"espalier: a fault of Espalier itself ({type(error).__name__}). Run again with --debug and report it.",
            file=sys.stderr,
        )
        return FAILED
