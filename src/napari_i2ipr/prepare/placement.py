"""Where the new frame lies in the stored one: the centre as asked, found or stored, and the sides about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.data import MIN_FRAME_PX
from napari_i2ipr.errors import InputError
from napari_i2ipr.prepare.centre import Centre, find_centre
from napari_i2ipr.prepare.conditioning import size_px
from napari_i2ipr.prepare.detector import hot_pixels
from napari_i2ipr.prepare.frame import Span, span

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement
    from napari_i2ipr.prepare.intake import Intake
    from napari_i2ipr.prepare.settings import Preparation

FAR_PX = 2.0
"""A stored centre further than this from the found one is said."""

UNSURE_PX = 2.0
"""A spread of the centre above this is said."""

STORED = "center_px"
"""Key of `Measurement.provenance` under which readers keep the centre ``(y, x)`` of a file."""


@dataclass(frozen=True)
class Placement:
    """The centre, how it is known, and the new frame.

    Attributes
    ----------
    center : tuple of float
        Zero frequency ``(y, x)`` in pixels of the stored frame, in halves.
    source : str
        As in `PreparationReport.center_source`.
    seen : Centre or None
        What the symmetry says; None where it was not asked.
    stored : tuple of float or None
        What the file says.
    notes : tuple of str
        What is to be said of it.
    sides : tuple of Span
        Sides ``(y, x)`` of the new frame.
    """

    center: tuple[float, float]
    source: str
    seen: Centre | None
    stored: tuple[float, float] | None
    notes: tuple[str, ...]
    sides: tuple[Span, Span]

    @property
    def unbinned(self) -> tuple[Span, Span]:
        """The same sides in stored pixels."""
        y, x = (replace(side, length=side.length * side.binning, binning=1) for side in self.sides)
        return y, x

    @property
    def symmetric(self) -> float:
        """Correlation with the flip about the centre, 0 where it is not known."""
        return self.seen.correlation if self.seen is not None and self.seen.found else 0.0


def placed(intake: Intake) -> Placement:
    """The placement that the settings ask for.

    Raises
    ------
    InputError
        If the centre lies outside, or too little of the frame is left about it.
    """
    settings, shape = intake.settings, intake.measurement.frame_shape
    stored = _stored_center(intake.measurement, shape)
    center, source, seen, notes = _center(intake, stored)
    return Placement(center, source, seen, stored, tuple(notes), _sides(center, shape, settings))


def _center(
    intake: Intake, stored: tuple[float, float] | None
) -> tuple[tuple[float, float], str, Centre | None, list[str]]:
    settings, (ny, nx) = intake.settings, intake.measurement.frame_shape
    given, kept = settings.center_px, (float(ny // 2), float(nx // 2))
    if given is not None:
        halves = (round(2 * given[0]) / 2, round(2 * given[1]) / 2)
        return halves, "given", None, [f"the centre {given} was rounded to halves, {halves}"] if halves != given else []
    if settings.center == "keep":
        return kept, "kept", None, []
    values, bad = intake.mean()
    hot = hot_pixels(values, bad) if settings.hot_dead else np.zeros(bad.shape, bool)
    seen = find_centre(values, bad | hot)
    if seen.found:
        return seen.position, "symmetry", seen, _doubts(seen, stored)
    instead = "what the file says was taken" if stored else "index n // 2 was kept"
    note = f"no centre of symmetry was found ({seen.reason}): {instead}; --center Y,X tells it"
    return (stored, "stored", seen, [note]) if stored else (kept, "kept", seen, [note])


def _doubts(seen: Centre, stored: tuple[float, float] | None) -> list[str]:
    found = []
    if seen.spread_px > UNSURE_PX:
        found.append(
            f"the bright and the dim part of the pattern are symmetric about points up to {seen.spread_px:.1f} px "
            "from the centre: the object is complex, or the pattern disturbed"
        )
    if stored and max(abs(a - b) for a, b in zip(stored, seen.position, strict=True)) > FAR_PX:
        found.append(f"the file says that the centre is {stored}; by symmetry it is {seen.position}, which was taken")
    return found


def _stored_center(measurement: Measurement, shape: tuple[int, int]) -> tuple[float, float] | None:
    """The centre that a reader found in the file, in halves; None where there is none in the frame."""
    found = measurement.provenance.get(STORED)
    if not isinstance(found, list | tuple) or len(found) != 2:
        return None
    y, x = (round(2 * float(c)) / 2 for c in found)
    return (y, x) if 0 <= y < shape[0] and 0 <= x < shape[1] else None


def _sides(center: tuple[float, float], shape: tuple[int, int], settings: Preparation) -> tuple[Span, Span]:
    size = settings.size_px or (None, None)
    fast, pad = settings.size == "auto", settings.fit == "pad"
    sides = [
        span(c, n, binning=settings.binning, length=length, pad=pad, fast=fast)
        for c, n, length in zip(center, shape, size, strict=True)
    ]
    inside = all(0 <= c <= n - 1 for c, n in zip(center, shape, strict=True))
    if not inside or min(side.length for side in sides) < MIN_FRAME_PX:
        b = settings.binning
        raise InputError(
            f"the centre {center} in a frame of {size_px(shape)}" + (f", binned {b} x {b}" if b > 1 else ""),
            expected=f"a new frame of at least {MIN_FRAME_PX} px a side about a pixel of the stored one",
            do="check centre, size and binning, or pad the frame",
        )
    return sides[0], sides[1]
