"""Settings of the `prepare` stage."""

from dataclasses import dataclass

from espalier.geometry import Shape, Triple


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreOptions:
    """How a scan becomes an array (Li et al. 2025, preprocessing; the defaults are those of the chest).

    Attributes
    ----------
    spacing_mm
        Of the stored grid along z, y, x.
    window_hu
        The HU that become -1 and 1 when a crop is read; what lies outside is clipped. The store itself keeps all HU.
    shape
        Voxels stored along z, y, x: the centre of the scan, padded with air where the scan is smaller.
    """

    spacing_mm: Triple = (3.0, 1.5, 1.5)
    window_hu: tuple[float, float] = (-1000.0, 200.0)
    shape: Shape = (120, 240, 240)

    def __post_init__(self) -> None:
        if not all(0.0 < mm < float("inf") for mm in self.spacing_mm):
            raise ValueError(f"spacing_mm is {self.spacing_mm}: all three must be above 0")
        if not self.window_hu[0] < self.window_hu[1]:
            raise ValueError(f"window_hu is {self.window_hu}: the lower bound must come first")
        if not all(n >= 1 for n in self.shape):
            raise ValueError(f"shape is {self.shape}: all three must be at least 1")
