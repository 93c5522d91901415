"""The learning rate: a rise, then a cosine to zero (Li et al. 2025, appendix)."""

import math


def learning_rate(step: int, *, steps: int, peak: float, warmup: float = 0.0) -> float:
    """Return the learning rate of one step.

    Parameters
    ----------
    step
        From 0 to `steps` - 1.
    steps
        Of the whole run.
    peak
        The highest value.
    warmup
        Share of all steps in which the rate rises linearly; the first step is never 0.
    """
    rising = int(steps * warmup)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
