"""What a preparation did, in numbers and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(frozen=True)
class PreparationReport:
    """What a preparation found and did.

    Attributes
    ----------
    shape : tuple of int
        Shape ``(..., y, x)`` of what came out.
    stored_shape : tuple of int
        Shape of what went in.
    center_px : tuple of float
        Zero frequency ``(y, x)`` in pixels of the stored frame.
    center_source : str
        ``"symmetry"``, ``"given"``, ``"stored"`` (the file says so) or ``"kept"`` (index ``n // 2``).
    center_correlation : float or None
        Correlation of the pattern with its flip about that point, -1 ... 1; None where it was not looked at.
    center_spread_px : float or None
        How far the symmetry of the bright and of the dim part lies from it.
    center_stored_px : tuple of float or None
        What the file says, if anything.
    remainder_px : tuple of float
        How far the zero frequency lies from the middle of the new pixel ``n // 2``, -0.5 ... 0.5.
    masked : float
        Share of bad pixels.
    masked_px : dict
        Numbers of bad pixels by reason; of a stack in all of its frames.
    filled_px : int
        Gap pixels that were interpolated.
    negative_px : int
        Pixels below 0 that were clipped.
    background : float
        Mean of what was subtracted, stored units.
    frames_summed : int
        Frames in the sum; 1 without.
    frames_dropped : tuple of int
        Frames that were left out of the sum.
    outliers : int
        Values of other frames that were left out.
    binning : int
        Stored pixels along a side of a new one.
    oversampling : tuple of float or None
        Frame over object ``(y, x)`` after the preparation; None where the pattern does not tell.
    oversampling_by : str
        ``"support"``, or ``"autocorrelation"``: about so much.
    gain : float or None
        Stored units per photon.
    gain_source : str
        How it is known; empty where it is not.
    photons : float or None
        Photons in measured pixels; of a stack the mean over its frames.
    alpha : float or None
        Noise level of the measurement, for an object in its own units.
    alpha_paper : float or None
        About the same on the scale of the I2I-PR paper, for an image of 0 ... 255.
    notes : tuple of str
        A sentence for everything else that was guessed, mended, or should be known.
    """

    shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    center_px: tuple[float, float]
    center_source: str
    center_correlation: float | None = None
    center_spread_px: float | None = None
    center_stored_px: tuple[float, float] | None = None
    remainder_px: tuple[float, float] = (0.0, 0.0)
    masked: float = 0.0
    masked_px: dict[str, int] = field(default_factory=dict)
    filled_px: int = 0
    negative_px: int = 0
    background: float = 0.0
    frames_summed: int = 1
    frames_dropped: tuple[int, ...] = ()
    outliers: int = 0
    binning: int = 1
    oversampling: tuple[float, float] | None = None
    oversampling_by: str = "autocorrelation"
    gain: float | None = None
    gain_source: str = ""
    photons: float | None = None
    alpha: float | None = None
    alpha_paper: float | None = None
    notes: tuple[str, ...] = ()

    def in_words(self) -> str:
        """One line: size, centre, masked share and why, oversampling, photons, noise level."""
        parts = [self._size(), self._center(), self._masked(), self._oversampling(), self._photons()]
        return ", ".join(filter(None, parts))

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values (JSON-able)."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The report of `to_dict`; names that are not known are left out."""
        names = {f.name for f in fields(cls)}
        known: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in names
        }
        return cls(**known)

    def _size(self) -> str:
        y, x = self.shape[-2:]
        count = 1
        for n in self.shape[:-2]:
            count *= n
        lead = f"{count} patterns of " if self.shape[:-2] else ""
        parts = [f"{lead}{y} x {x}"]
        if self.frames_summed > 1:
            parts.append(f"sum of {self.frames_summed} frames")
        if self.binning > 1:
            parts.append(f"binned {self.binning} x {self.binning}")
        return ", ".join(parts)

    def _center(self) -> str:
        how = {"symmetry": "by symmetry", "given": "as given", "stored": "as the file says", "kept": "kept"}
        words = f"centre ({', '.join(f'{c:.1f}' for c in self.center_px)}) {how[self.center_source]}"
        if self.center_stored_px is not None and self.center_source != "stored":
            words += f" (the file says ({', '.join(f'{c:.1f}' for c in self.center_stored_px)}))"
        rest = self.remainder_px
        if any(abs(r) > 1e-3 for r in rest):
            words += f", off its pixel by ({', '.join(f'{r:g}' for r in rest)})"
        return words

    def _masked(self) -> str:
        if not self.masked:
            return "nothing masked"
        by_size = sorted(self.masked_px.items(), key=lambda item: -item[1])
        return f"{100 * self.masked:.2g} % masked ({', '.join(f'{name} {n} px' for name, n in by_size)})"

    def _oversampling(self) -> str:
        if self.oversampling is None:
            return "oversampling not told by the pattern"
        about = "" if self.oversampling_by == "support" else "about "
        return f"oversampling {about}" + " x ".join(f"{s:.1f}" for s in self.oversampling)

    def _photons(self) -> str:
        if self.photons is None:
            return "photons not told by the pattern"
        words = f"about {self.photons:.2g} photons"
        return words if self.alpha_paper is None else f"{words}, alpha about {self.alpha_paper:.2g}"
