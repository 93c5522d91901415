"""Whether numbers are HU of a patient, by where air, fat and soft tissue lie in their histogram."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int64

from espalier.cohort.volume import AIR_HU, Volume

STEP_HU: Final = 10
LOWEST_HU, HIGHEST_HU = -1030, 3100
MOST_VOXELS: Final = 2_000_000
WRAPPED_HU: Final = 32_000
"""Extended CT scales end at 30,710 HU; negative numbers read as unsigned lie near 64,000."""
TISSUE_HU: Final = (-170, 150)
"""Fat, water and muscle, with and without contrast."""
FAT_HU: Final = (-160, -40)
AIR_BELOW_HU: Final = -300


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of up to two million voxels spread over a volume, and its true extremes.

    Parameters
    ----------
    counts
        Per 10 HU from -1030 to 3100, without voxels of exactly -1024, which may be padding.
    lowest, highest
        Of all voxels, in HU.
    padding, above, at_lowest
        Share of the voxels that are exactly -1024, that lie above 3100 HU, and that equal the lowest value.
    voxels
        How many were counted, padding included.
    """

    counts: Int64[np.ndarray, " bins"]
    lowest: float
    highest: float
    padding: float
    above: float
    at_lowest: float
    voxels: int

    def share(self, low_hu: float, high_hu: float) -> float:
        """Return the share of voxels from `low_hu` to below `high_hu`, padding in the denominator only."""
        first, last = (round((np.clip(hu, LOWEST_HU, HIGHEST_HU) - LOWEST_HU) / STEP_HU) for hu in (low_hu, high_hu))
        return float(self.counts[first:last].sum()) / self.voxels

    def quantile(self, share: float, *, above_hu: float = LOWEST_HU) -> float | None:
        """Return the HU below which this share of the voxels above `above_hu` lies, to 10 HU; None where there are none."""
        counts = self.counts[round((above_hu - LOWEST_HU) / STEP_HU) :]
        total = np.cumsum(counts)
        if total[-1] == 0:
            return None
        return above_hu + STEP_HU * (int(np.searchsorted(total, share * total[-1])) + 0.5)

    def mode(self, low_hu: float, high_hu: float) -> float:
        """Return the most frequent HU in this range, smoothed over 50 HU."""
        smooth = np.convolve(self.counts, np.ones(5), mode="same")
        first, last = (round((hu - LOWEST_HU) / STEP_HU) for hu in (low_hu, high_hu))
        return float(low_hu + STEP_HU * (int(np.argmax(smooth[first:last])) + 0.5))


def histogram_of(volume: Volume) -> Histogram:
    """Return the histogram of a volume; extremes from every voxel, counts from a regular part of a large volume."""
    voxels = volume.voxels
    apart = max(1, int(np.ceil((voxels.size / MOST_VOXELS) ** (1 / 3))))
    some = voxels[apart // 2 :: apart, apart // 2 :: apart, apart // 2 :: apart]
    lowest, highest = float(voxels.min()), float(voxels.max())
    kept = some[some != AIR_HU]
    inside = kept[(kept >= LOWEST_HU) & (kept < HIGHEST_HU)]
    places = np.floor((inside.astype(np.float32) - LOWEST_HU) / STEP_HU).astype(np.int64)
    counts = np.bincount(places, minlength=(HIGHEST_HU - LOWEST_HU) // STEP_HU)
    return Histogram(
        counts=counts.astype(np.int64),
        lowest=lowest,
        highest=highest,
        padding=1 - kept.size / some.size,
        above=float(np.count_nonzero(kept >= HIGHEST_HU)) / some.size,
        at_lowest=float(np.count_nonzero(some == lowest)) / some.size,
        voxels=some.size,
    )


def hu_fault(histogram: Histogram) -> tuple[str, str] | None:
    """Return code and words of what is wrong with the numbers, or nothing.

    The codes are `constant_volume`, `rescaled_twice` (about 1000 too low: air and fat lie at -1024, soft tissue near
    -984) and `not_hu` (never rescaled, shifted by 300 or more, read as unsigned, a picture, scaled, inverted, or no
    patient). The rules rest on fat and soft tissue, which every scan holds; air may be missing.
    """
    h = histogram
    reach = f"values from {h.lowest:g} to {h.highest:g}"
    if h.lowest == h.highest:
        return "constant_volume", f"{h.lowest:g} everywhere"
    if h.highest > WRAPPED_HU or h.above > 0.05:
        return "not_hu", f"{reach}, as of negative numbers read as positive"
    if h.highest - h.lowest < 150:
        return "not_hu", f"{reach}, too near to each other"
    if _too_low(h):
        return "rescaled_twice", f"most tissue near {h.quantile(0.5) or AIR_HU:.0f} HU"
    if h.share(*TISSUE_HU) < 0.001:
        return "not_hu", f"{reach}, hardly any of them tissue"
    return _shifted(h, reach)


def _too_low(h: Histogram) -> bool:
    """Tell whether air and fat are cut off at -1024 and soft tissue follows right above, with only bone far above."""
    rest = h.share(LOWEST_HU, HIGHEST_HU)
    if h.padding < 0.02 or rest < 0.001 or h.highest < -760 or h.share(LOWEST_HU, -750) < 0.5 * rest:
        return False
    tissue = h.share(*TISSUE_HU)
    if tissue < 0.06 * rest and tissue < 0.35 * h.share(-750, HIGHEST_HU):
        return True
    # Dense bone of head and limbs ends up near 0 HU: either nothing is left where bone should be, or hardly anything is
    # neither cut off nor right above.
    if h.padding > 0.6 and tissue < 0.2 * rest:
        return True
    return h.padding > 0.3 and tissue < 0.35 * rest and h.share(250, HIGHEST_HU) + h.above < 0.02 * tissue


def _shifted(h: Histogram, reach: str) -> tuple[str, str] | None:
    tissue, dense = h.share(*TISSUE_HU), h.share(600, HIGHEST_HU) + h.above
    if dense > 0.15 and dense > 3 * h.share(LOWEST_HU, AIR_BELOW_HU):
        return "not_hu", f"{100 * dense:.0f} % of the voxels above 600 HU"
    airless = h.share(LOWEST_HU, AIR_BELOW_HU) < 0.0005
    # Noise of air near 0 HU can pass for fat; then the tissue lies near 1000 HU, where bone is rarer than further below.
    if airless and (h.share(*FAT_HU) < 0.005 or h.share(850, 1150) > max(0.02, h.share(250, 550))):
        return "not_hu", f"{reach}, and neither air nor fat where they should be"
    if airless and h.lowest > AIR_HU and h.at_lowest > 0.02:
        return "not_hu", f"{reach}, cut off below"
    between = h.share(-650, -200)
    if between > max(0.03, 3 * tissue, h.share(LOWEST_HU, -650)):
        return "not_hu", f"most tissue near {h.mode(-650, -200):.0f} HU"
    mode = h.mode(-400, HIGHEST_HU - 100)
    body = h.share(-400, HIGHEST_HU) + h.above
    if not TISSUE_HU[0] <= mode <= TISSUE_HU[1] and tissue < 0.35 * body:
        return "not_hu", f"most tissue near {mode:.0f} HU"
    return None
