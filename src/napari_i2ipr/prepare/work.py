"""A pattern on its way from the file to the reconstruction: values, and why a pixel is bad."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement

REASONS = (
    "",
    "given",
    "beamstop or gap",
    "saturated",
    "hot",
    "dead",
    "not finite",
    "dark or flat",
    "around saturated",
    "unsteady",
    "outside the frame",
)
"""Why a pixel is bad, by the number that stands for it."""


SATURATION = "saturation_value"
"""Key of `Measurement.provenance` under which readers keep the level from which on a detector is saturated."""


@dataclass
class Work:
    """A pattern on its way: values in float64, mask, and what has been said and recorded of it.

    Attributes
    ----------
    values : ndarray
        Intensities ``(y, x)``.
    why : ndarray of uint8
        Why a pixel is bad: 0 for good ones, else the place of the word in `REASONS`.
    zero : ndarray of bool
        Pixels stored as nothing: zero, or a negative flag.
    masked : bool
        Whether there was a mask.
    ceiling : float or None
        Where the detector is saturated at the latest: the level that the file names, or the largest number of the
        stored type, where it is whole.
    notes : list of str
        One sentence for everything that was done.
    record : dict
        The same for the provenance.
    """

    values: NDArray[np.float64]
    why: NDArray[np.uint8]
    zero: NDArray[np.bool_]
    masked: bool
    ceiling: float | None
    notes: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, measurement: Measurement) -> Work:
        """A pattern as it is stored."""
        raw = np.asarray(measurement.intensity)
        mask = measurement.bad_pixels
        why = np.zeros(raw.shape, dtype=np.uint8)
        if mask is not None:
            why[np.asarray(mask) != 0] = REASONS.index("given")
        whole = raw.dtype.kind in "iu"  # detectors flag gaps by negative numbers there
        levels = [float(np.iinfo(raw.dtype).max)] if whole else []
        named = measurement.provenance.get(SATURATION)
        if isinstance(named, int | float) and named > 0:
            levels.append(float(named))
        ceiling = min(levels, default=None)
        return cls(raw.astype(np.float64), why, raw <= 0 if whole else raw == 0, mask is not None, ceiling)

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Pixels that were not measured."""
        found: NDArray[np.bool_] = self.why != 0
        return found

    @property
    def measured(self) -> NDArray[np.float64]:
        """Values of the pixels that are not bad."""
        found: NDArray[np.float64] = self.values[self.why == 0]
        return found

    def each(self, change: Any) -> None:
        """Move values, mask and zeros in the same way."""
        self.values, self.why, self.zero = (np.array(change(a)) for a in (self.values, self.why, self.zero))

    def drop(self, found: NDArray[np.bool_], reason: str) -> int:
        """Mask pixels for one of `REASONS`, and return how many were not masked before."""
        new = found & (self.why == 0)
        self.why[new] = REASONS.index(reason)
        return int(new.sum())
