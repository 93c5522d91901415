"""A comparison in words: whether it helped, by how much, at what cost."""

from collections.abc import Mapping
from typing import Any, Final

UNBROKEN: Final = "\N{NO-BREAK SPACE}"
GIBIBYTE: Final = 2**30
MASKS: Final = "supervision.weight"
SAME_WHEN_DEPLOYED: Final = ("network", "crop")


def area(own: Mapping[str, Any]) -> str:
    """Return an AUROC with its interval, in one line: `0.834 (0.811 to 0.856)`."""
    return f"{own['value']:.3f} ({own['low']:.3f} to {own['high']:.3f})".replace(" ", UNBROKEN)


def points(own: Mapping[str, Any]) -> str:
    """Return a difference of AUROCs with its interval, in points and in one line: `+2.2 (+1.1 to +3.4)`."""
    return f"{_signed(own['value'])} ({_signed(own['low'])} to {_signed(own['high'])})".replace(" ", UNBROKEN)


def _signed(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def has_masks(settings: Mapping[str, str]) -> bool:
    """Tell whether an arm was trained with masks."""
    return float(settings.get(MASKS, "0")) > 0


def question(results: Mapping[str, Any], settings: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page's heading."""
    about_masks = any(_about_masks(arm, results["baseline"], settings) for arm in results["differences"])
    return "Did the masks help?" if about_masks else "Which arm is better?"


def _about_masks(arm: str, baseline: str, settings: Mapping[str, Mapping[str, str]]) -> bool:
    return has_masks(settings.get(arm, {})) and not has_masks(settings.get(baseline, {}))


def answers(results: Mapping[str, Any], settings: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a paragraph for each arm that is neither baseline nor placebo, or one that says there is none."""
    arms = [arm for arm in results["differences"] if arm != results["placebo"]]
    if not arms:
        own = results["arms"][results["baseline"]]["macro"]
        told = f" Its macro AUROC is {area(own['auroc'])}, 95 % interval in brackets." if own else ""
        return [f"There is nothing to compare: {results['baseline']} is the only arm.{told}"]
    return [_answer(arm, results, settings) for arm in arms]


def _answer(arm: str, results: Mapping[str, Any], settings: Mapping[str, Mapping[str, str]]) -> str:
    baseline = results["baseline"]
    difference = results["differences"][arm]["macro"].get("auroc")
    if difference is None:
        return f"{arm}: no finding has both positives and negatives among the test scans, so nothing can be said."
    ours, theirs = (results["arms"][one]["macro"]["auroc"]["value"] for one in (arm, baseline))
    seeds = "one seed" if difference["seeds"] == 1 else f"{difference['seeds']} seeds"
    words = [
        _verdict(difference, about_masks=_about_masks(arm, baseline, settings), arm=arm, baseline=baseline),
        f"Arm {arm} reaches a macro AUROC of {ours:.3f} where {baseline} reaches {theirs:.3f}:",
        f"{points(difference)} points, 95 % interval in brackets, on {difference['patients']} test patients and {seeds}.",
        _placebo_words(arm, results),
        cost_words(arm, results, settings),
    ]
    return " ".join(word for word in words if word)


def _verdict(difference: Mapping[str, Any], *, about_masks: bool, arm: str, baseline: str) -> str:
    if difference["low"] > 0:
        return "Yes. The masks helped." if about_masks else f"Arm {arm} is better than {baseline}."
    if difference["high"] < 0:
        return "No. The masks did harm." if about_masks else f"Arm {arm} is worse than {baseline}."
    return f"Not shown. Whether {'the masks' if about_masks else f'arm {arm}'} helped cannot be told from these patients."


def _placebo_words(arm: str, results: Mapping[str, Any]) -> str:
    own = results.get("against_placebo", {}).get(arm, {}).get("macro", {}).get("auroc")
    if own is None:
        return ""
    told = f"Against {results['placebo']}, which has the same work with masks that do not fit, it is {points(own)} points"
    if own["low"] > 0 and results["differences"][arm]["macro"]["auroc"]["low"] > 0:
        return f"{told}: the gain comes from the anatomy."
    if own["low"] > 0:
        return f"{told}: better than the placebo, though not shown to be better than {results['baseline']}."
    return f"{told}: it is not shown that the anatomy, rather than the added work, makes the difference."


def cost_words(arm: str, results: Mapping[str, Any], settings: Mapping[str, Mapping[str, str]]) -> str:
    """Return what a training step and a prediction cost against the baseline."""
    ours, theirs = results["cost"].get(arm, {}), results["cost"].get(results["baseline"], {})
    parts = []
    if "seconds_per_step" in ours and theirs.get("seconds_per_step"):
        ratio = ours["seconds_per_step"] / theirs["seconds_per_step"]
        parts.append(f"{ratio:.2f} times the time ({seconds(ours)} instead of {seconds(theirs)})")
    if "bytes_per_step" in ours and theirs.get("bytes_per_step"):
        ratio = ours["bytes_per_step"] / theirs["bytes_per_step"]
        parts.append(f"{ratio:.2f} times the memory ({memory(ours)} instead of {memory(theirs)})")
    told = f"A training step took {' and '.join(parts)}." if parts else "The cost of a training step was not measured."
    return told + _deployed_words(settings.get(arm, {}), settings.get(results["baseline"], {}))


def _deployed_words(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    shape = [{k: v for k, v in own.items() if k.startswith(SAME_WHEN_DEPLOYED)} for own in (ours, theirs)]
    if not shape[0] or shape[0] != shape[1]:
        return ""
    return " A prediction costs the same: the network that is deployed is the same."


def seconds(cost: Mapping[str, float]) -> str:
    """Return the time of a step, or a dash."""
    return f"{cost['seconds_per_step']:.3g} s" if "seconds_per_step" in cost else "–"


def memory(cost: Mapping[str, float]) -> str:
    """Return the memory of a step, or a dash."""
    return f"{cost['bytes_per_step'] / GIBIBYTE:.2f} GiB" if "bytes_per_step" in cost else "–"
