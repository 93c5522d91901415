"""The stage `compare`: arms against the baseline, paired, with intervals, as JSON for programs and a page for people."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from espalier.comparison.options import ComparisonOptions
from espalier.comparison.pairs import read_pairs
from espalier.comparison.report import report
from espalier.comparison.results import compared
from espalier.comparison.runs import cost_of, run_folder
from espalier.comparison.words import UNBROKEN, points
from espalier.errors import SettingsError
from espalier.evaluation.predictions import evaluation_folder, predictions_path
from espalier.outputs import hash_file, hash_of, key_of, read_json, write_json, written_whole
from espalier.stage import Summary

COMPARISON: Final = "comparison/comparison.json"
REPORT: Final = "comparison/report.html"


def compare(options: ComparisonOptions, *, folder: Path, arms: Sequence[str], seeds: Sequence[int]) -> Summary:
    """Compare the test predictions of all arms and write `comparison/comparison.json` and `comparison/report.html`.

    Parameters
    ----------
    options
        Baseline, placebo, resamples. A study with one arm has nothing to compare; the page then tells of that arm.
    folder
        The study's folder, with `evaluation/`, and with `runs/` and the store for settings, curves and slices.
    arms, seeds
        Every arm must have been evaluated with every seed.

    Raises
    ------
    SettingsError
        When the baseline or the placebo is not among the arms.
    MissingError
        When an arm and seed has not been evaluated.
    InputError
        When arms were evaluated on different scans, findings or labels.
    """
    options = _checked(options, arms)
    key = hash_of(options, list(arms), list(seeds), _inputs(folder, arms, seeds))
    numbers, words = folder / COMPARISON, folder / REPORT
    fresh = key_of(numbers) != key or not words.is_file()
    if fresh:
        pairs = read_pairs(folder, arms=arms, seeds=seeds)
        results = compared(pairs, options) | {"cost": {arm: cost_of(folder, arm, seeds) for arm in arms}}
        text = report(folder, options=options, pairs=pairs, results=results)
        with written_whole(words) as partial:
            partial.write_text(text, encoding="utf-8")
        write_json(numbers, results, kind="comparison", key=key)
    results = read_comparison(folder)
    return Summary(verb="compare", done=int(fresh), words=_words(results), wrote=(numbers, words))


def read_comparison(folder: Path) -> dict[str, Any]:
    """Return `comparison.json`; raise `MissingError` before `compare`."""
    return read_json(folder / COMPARISON, kind="comparison")


def _checked(options: ComparisonOptions, arms: Sequence[str]) -> ComparisonOptions:
    if len(arms) == 1:
        return replace(options, baseline=arms[0], placebo=None)
    for setting, arm in (("baseline", options.baseline), ("placebo", options.placebo)):
        if arm is not None and arm not in arms:
            raise SettingsError(
                f"[comparison] {setting}",
                found=f"no arm {arm!r}",
                expected=f"one of {', '.join(arms)}",
                do="Name one of these.",
            )
    return options


def _inputs(folder: Path, arms: Sequence[str], seeds: Sequence[int]) -> dict[str, str]:
    """Return the hash of every file that the numbers or the page rest on, so that a change of any makes both anew.

    Measured costs are left out: a run that was killed on its way gives the same comparison as one that was not.
    """
    paths = [path for arm in arms for seed in seeds for path in _inputs_of_run(folder, arm, seed)]
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in (*paths, folder / "store.json") if path.is_file()}


def _inputs_of_run(folder: Path, arm: str, seed: int) -> Iterator[Path]:
    run = run_folder(folder, arm, seed)
    yield from (predictions_path(folder, arm, seed, split) for split in ("validation", "test"))
    yield evaluation_folder(folder, arm, seed) / "metrics.json"
    yield from (run / name for name in ("run.json", "curves.parquet"))
    yield from sorted((run / "validation").glob("epoch-*.parquet"))


def _words(results: dict[str, Any]) -> str:
    told = [
        f"{arm} against {results['baseline']}: {points(own['macro']['auroc']).replace(UNBROKEN, ' ')} points of macro AUROC"
        for arm, own in results["differences"].items()
        if own["macro"]
    ]
    return "; ".join(told) or "nothing to compare"
