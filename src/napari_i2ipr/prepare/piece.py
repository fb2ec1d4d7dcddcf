"""One pattern through the steps that need its centre: background, bad pixels, negative values, frame, gaps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.prepare import background, detector, photons
from napari_i2ipr.prepare.conditioning import clip_negative, px, require_measured
from napari_i2ipr.prepare.frame import binned, support_in, taken
from napari_i2ipr.prepare.gaps import interpolated
from napari_i2ipr.prepare.sampling import oversampling
from napari_i2ipr.prepare.work import REASONS, Work

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement
    from napari_i2ipr.prepare.intake import Intake
    from napari_i2ipr.prepare.placement import Placement
    from napari_i2ipr.prepare.settings import Preparation

SYMMETRIC = 0.9
"""Correlation with the flip from which a pixel's partner tells whether it is dead."""

PEDESTAL = 0.1
"""Share of all counts above which a level that was not subtracted is said."""


@dataclass(frozen=True)
class Piece:
    """One prepared pattern.

    Attributes
    ----------
    values : ndarray
        Intensities >= 0, ``(y, x)``.
    why : ndarray of uint8
        Why a pixel is bad, 0 for good ones.
    filled : int
        Gap pixels that were interpolated.
    level : float
        Mean of what was subtracted.
    record, notes
        See `Work`.
    """

    values: NDArray[np.float64]
    why: NDArray[np.uint8]
    filled: int
    level: float
    record: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """What the brightest pattern tells of all.

    Attributes
    ----------
    gain : Gain or None
        Stored units per photon.
    oversampling : tuple of float or None
        Frame over object ``(y, x)``, binned.
    """

    gain: photons.Gain | None
    oversampling: tuple[float, float] | None


def piece(intake: Intake, index: int, place: Placement) -> tuple[Piece, Told | None]:
    """Pattern `index`, prepared; of the brightest also what it tells of all.

    Raises
    ------
    InputError
        If too little of it is measured.
    """
    settings, work = intake.settings, intake.work(index)
    level = _subtract(work, settings, place.center)
    if settings.hot_dead:
        _mask_hot_and_dead(work, place)
    asked = index == intake.reference
    gain = _gain(intake, work, place) if asked else None
    values = taken(work.values, *place.sides, 0.0)
    why = taken(work.why, *place.sides, REASONS.index("outside the frame"))
    told = Told(gain, _oversampling(intake.measurement, values.clip(min=0), why != 0, place)) if asked else None
    values, why = binned(values, why, settings.binning, settings.bin_share)
    new = replace(work, values=values, why=why, zero=values == 0)
    clip_negative(new)  # after the binning: clipped noise would no longer cancel in the sums
    values, filled = interpolated(new.values, why != 0, settings.gap_tolerance)
    why[filled] = 0
    require_measured(new, allow_masked=settings.allow_masked)
    record = {**new.record, "center": list(place.center), "allow_masked": settings.allow_masked}
    return Piece(values, why, int(filled.sum()), level, record, tuple(new.notes)), told


def _subtract(work: Work, settings: Preparation, center: tuple[float, float]) -> float:
    """Take the background away; its mean over the measured pixels."""
    given, lost = settings.background_level, 0.0
    if settings.background == "none":
        _say_pedestal(work)
        return 0.0
    if given is not None:
        lost = given
    elif settings.background == "auto":
        lost = background.constant_background(work.values, work.bad)
    else:
        below = background.radial_background(work.values, work.bad, center)
        work.values = work.values - below
        return float(below[work.why == 0].mean())
    work.values = work.values - lost
    return float(lost)


def _say_pedestal(work: Work) -> None:
    level = background.constant_background(work.values, work.bad)
    total = float(work.measured.sum())
    share = level * work.measured.size / total if total > 0 else 0.0
    if level > 0 and share > PEDESTAL:
        work.notes.append(
            f"the dimmest part of the frame holds {level:.3g} a pixel, which everywhere makes {share:.0%} of all "
            "counts: where that is no signal, subtract it (--background auto)"
        )


def _mask_hot_and_dead(work: Work, place: Placement) -> None:
    """Mask pixels that neither their neighbours nor their Friedel partner explain; never the centre."""
    partner, alone = photons.partners(work.values, work.bad, place.center)
    hot = detector.hot_pixels(work.values, work.bad) & (alone | (work.values > detector.HOT_RATIO * partner))
    y, x = (np.abs(np.arange(n) - c) <= 1 for n, c in zip(work.values.shape, place.center, strict=True))
    hot &= ~np.logical_and.outer(y, x)
    n_hot, n_dead = work.drop(hot, "hot"), 0
    if place.symmetric >= SYMMETRIC:
        dark = ~alone & (partner >= detector.least_bright(work.values, work.bad))
        dark &= work.values <= detector.DEAD_RATIO * partner
        n_dead = work.drop(dark & detector.dead_pixels(work.values, work.bad), "dead")
    if n_hot:
        work.notes.append(f"{px(n_hot)} hot, far above neighbours and Friedel partner: masked")
    if n_dead:
        work.notes.append(f"{px(n_dead)} dead, far below neighbours and Friedel partner: masked")


def _gain(intake: Intake, work: Work, place: Placement) -> photons.Gain | None:
    """Stored units per photon: given, known from the file, or as the data tell it."""
    source, given = intake.measurement, intake.settings.gain
    if given > 0:
        return photons.Gain(given, 0.0, "given")
    if source.alpha is not None:
        known = 4 * source.alpha**2 / (source.intensity_scale * intake.summed)
        return photons.Gain(known, 0.0, "alpha of the file") if known > 0 else None
    if intake.gain is not None or work.record.get("amplitude"):
        return intake.gain
    centred = place.source in ("symmetry", "given")
    found = photons.gain_of_pairs(work.values, work.bad, place.center) if centred else None
    return found or photons.gain_of_floor(work.values, work.bad)


def _oversampling(
    measurement: Measurement, values: NDArray[np.float64], bad: NDArray[np.bool_], place: Placement
) -> tuple[float, float] | None:
    """Of the new frame; looked at before the binning, which would hide that it costs too much."""
    b = place.sides[0].binning
    support = None if measurement.support is None else support_in(measurement.support, *place.unbinned)
    found = oversampling(values, bad, support)
    return None if found is None else (found[0] / b, found[1] / b)
