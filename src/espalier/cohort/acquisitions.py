"""Several acquisitions under one series UID: told apart where they lie among each other, left as one where they follow."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Final

import numpy as np

from espalier.cohort.headers import About, Instance

Member = tuple[About, Instance]
TOLD_BY: Final[tuple[tuple[str, Callable[[Member], object]], ...]] = (
    ("", lambda member: member[1].acquisition),
    ("kernel", lambda member: member[0].kernel),
    ("thickness", lambda member: member[0].slice_mm),
    ("contrast", lambda member: member[0].contrast),
)
"""What parts acquisitions: the acquisition number (for frames also stack and time point), else how they were made."""
FEWEST: Final = 3
"""A part of fewer slices is no acquisition, but a localizer or a slip."""
SHARED: Final = 0.5
"""Parts that share more than this of the shorter one's length lie among each other; others follow one another."""


def acquisitions(members: Sequence[Member]) -> Mapping[str, list[Instance]]:
    """Return the slices of each acquisition by a word for it; one, "", where they are one volume.

    Slices of two acquisitions at the same places, or half a step apart, would else conflict or pass for one finer volume.
    """
    instances = [instance for _, instance in members]
    if any(i.position is None or i.orientation is None for i in instances):
        return {"": instances}
    framed = any(i.frame for i in instances)
    for name, told in TOLD_BY[:1] if framed else TOLD_BY:
        parts: dict[str, list[Instance]] = {}
        for member in members:
            parts.setdefault(f"{name} {told(member)}".strip(), []).append(member[1])
        if len(parts) > 1 and _lie_among_each_other(parts.values()):
            return parts
    return _passes(instances) or {"": instances}


def _lie_among_each_other(parts: Collection[Sequence[Instance]]) -> bool:
    large = [part for part in parts if len(part) >= FEWEST]
    if len(large) < 2:
        return False
    directions = np.asarray(large[0][0].orientation, dtype=np.float64).reshape(2, 3)
    normal = np.cross(directions[0], directions[1])
    placed = (np.asarray([i.position for i in part], dtype=np.float64) @ normal for part in large)
    spans = [(float(along.min()), float(along.max())) for along in placed]
    return any(
        min(one[1], other[1]) - max(one[0], other[0]) > SHARED * min(one[1] - one[0], other[1] - other[0])
        for one, other in combinations(spans, 2)
    )


def _passes(instances: Sequence[Instance]) -> Mapping[str, list[Instance]]:
    """Split slices that lie equally often at every place into passes by time; nothing where time does not part them."""
    if len({(*(i.position or ()), *(i.orientation or ())) for i in instances}) == len(instances):
        return {}
    by_place: dict[tuple[float, ...], list[Instance]] = {}
    for instance in instances:
        by_place.setdefault(_place(instance), []).append(instance)
    count = min(map(len, by_place.values()))
    if count < 2 or any(i.time_s is None for i in instances) or max(map(len, by_place.values())) != count:
        return {}
    ordered = sorted(instances, key=lambda i: (i.time_s, i.name))
    each = len(ordered) // count
    passes = [ordered[n * each : (n + 1) * each] for n in range(count)]
    apart = all(one[-1].time_s != after[0].time_s for one, after in pairwise(passes))
    whole = all(len(set(map(_place, one))) == each for one in passes)
    return {f"pass {n}": one for n, one in enumerate(passes, start=1)} if apart and whole else {}


def _place(instance: Instance) -> tuple[float, ...]:
    return tuple(round(v, 2) for v in (*(instance.position or ()), *(instance.orientation or ())))
