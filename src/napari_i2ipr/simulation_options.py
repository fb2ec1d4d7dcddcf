"""The settings of `napari_i2ipr.simulation.simulate`: meaning, range and default, once, without a heavy import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

MAX_OVERSAMPLING = 64.0
"""Largest frame over object size per axis."""


@dataclass(frozen=True)
class Option:
    """What a setting of `simulate` means and which values it takes; ``--help`` and forms are made of it.

    Attributes
    ----------
    default : float, int or None
        None where it may be left out.
    text : str
        Meaning, for the user.
    unit : str
        Its unit, empty for plain numbers.
    low, high : float
        Range, both ends included.
    above : bool
        Whether `low` itself is excluded.
    whole : bool
        Whether it is a whole number.
    """

    default: Any
    text: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def words(self) -> str:
        """The range in words."""
        words = "a whole number" if self.whole else "a number"
        if math.isfinite(self.low):
            words += f" above {self.low:g}" if self.above else f" of at least {self.low:g}"
        if math.isfinite(self.high):
            words += f" and at most {self.high:g}"
        return words

    def allows(self, value: Any) -> bool:
        """Whether it is a number in the range, or None where it may be left out."""
        if value is None:
            return self.default is None
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number = float(value)
        return math.isfinite(number) and self.low <= number <= self.high and not (self.above and number == self.low)


OPTIONS: dict[str, Option] = {
    "alpha": Option(None, "Noise level of the I2I-PR paper, e.g. 2, 3, 4; higher is noisier.", low=0),
    "photons": Option(None, "Photons in the whole pattern; makes whole counts.", "photons", low=0, above=True),
    "oversampling": Option(2.0, "Frame over object size, per axis.", low=1, high=MAX_OVERSAMPLING),
    "beamstop_px": Option(
        0.0, "Radius of the disc about the centre that a beamstop blocks; 0 for none.", "detector px", low=0
    ),
    "saturation": Option(
        None,
        "Level at which the detector ends; pixels above it read this and are not marked as bad.",
        "stored intensity",
        low=0,
        above=True,
    ),
    "dead_pixels": Option(0, "Number of pixels that read 0 and are marked as bad.", "pixels", low=0, whole=True),
    "offset": Option(0.0, "Added to every pixel by the detector.", "stored intensity"),
    "seed": Option(0, "Fixes the noise and the dead pixels.", low=0, whole=True),
}
"""Every setting of `simulate`."""
