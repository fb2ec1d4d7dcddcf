"""From what a file holds to what can be reconstructed: refuse, mend, guess - and say each in one sentence.

The rules are those of ``docs/conventions.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_i2ipr.data import MIN_FRAME_PX, Measurement
from napari_i2ipr.errors import InputError
from napari_i2ipr.prepare import looks
from napari_i2ipr.prepare.amplitudes import look_like_amplitudes
from napari_i2ipr.prepare.frame import Span, span
from napari_i2ipr.prepare.work import REASONS, Work

PREPARED = "prepared"
"""Key of `Measurement.provenance` under which `condition` records what it did."""

MAX_MASKED = 0.9
"""Patterns with a larger share of masked pixels are refused unless allowed."""

CONSTANT = 1e-6
"""A pattern whose range is below this share of its maximum is constant."""

LARGEST = 1e18
"""Intensities above this, or maxima below its inverse, overflow or vanish in float32 squares."""


def condition(
    measurement: Measurement,
    *,
    amplitude: bool | None = None,
    center: tuple[float, float] | None = None,
    invert_mask: bool = False,
    allow_masked: bool = False,
    fft_order: bool | None = None,
) -> tuple[Measurement, tuple[str, ...]]:
    """Make one pattern ready for reconstruction.

    Parameters
    ----------
    measurement : Measurement
        One pattern ``(y, x)``; of a stack take `Measurement.frame`.
    amplitude : bool, optional
        Whether the values are amplitudes, to be squared; guessed when None.
    center : tuple of float, optional
        Pixel ``(y, x)`` of the zero frequency in the stored array. The frame is cropped to bring it to
        ``n // 2``, half pixels are rounded up; scale and alpha follow, so the object keeps its units.
    invert_mask : bool
        Whether non-zero means good in the given mask.
    allow_masked : bool
        Whether more than 90 % of the pixels may be masked.
    fft_order : bool, optional
        Whether the zero frequency is stored in the corner; guessed when None, never with `center`.

    Returns
    -------
    tuple
        The conditioned measurement (intensities >= 0 in float32, zero frequency at ``n // 2``, a mask
        for every pixel) and one sentence for everything that was guessed, mended or cut off. What has
        been conditioned comes back as it is, without a sentence.

    Raises
    ------
    InputError
        If there is nothing to reconstruct from, or a request contradicts the frame or an earlier one.
    """
    asked = {"amplitude": amplitude, "fft_order": fft_order, "invert_mask": invert_mask or None, "center": center}
    known = earlier(measurement, asked)
    work = Work.of(measurement)
    if known is None:
        _crop(work, measurement, center)
        recognise(work, amplitude=amplitude, invert_mask=invert_mask, fft_order=fft_order, centred=center is not None)
    else:
        recognise_again(work)
    clip_negative(work)
    require_measured(work, allow_masked=allow_masked or bool(known and known["allow_masked"]))
    work.record |= {"allow_masked": allow_masked, "notes": list(work.notes)}
    return _result(measurement, work, known or work.record), tuple(work.notes)


def recognise(
    work: Work,
    *,
    amplitude: bool | None = None,
    invert_mask: bool = False,
    fft_order: bool | None = None,
    centred: bool = False,
    saturation: float | None = None,
) -> None:
    """Mask what was not measured, and bring order and scale to ours; negative values stay.

    Parameters
    ----------
    work : Work
        A pattern as it is stored; changed in place.
    amplitude, invert_mask, fft_order
        As for `condition`.
    centred : bool
        Whether the zero frequency is known to lie at ``n // 2``.
    saturation : float, optional
        Level, in stored units, from which pixels are saturated; guessed when None.

    Raises
    ------
    InputError
        If there is nothing to reconstruct from.
    """
    _mend_mask(work, invert_mask=invert_mask)
    _mask_non_finite(work)
    _require_counts(work)
    _mask_saturated(work, saturation)
    _mend_order(work, fft_order, centred=centred)
    _square(work, amplitude)
    _mask_blocks(work)


def recognise_again(work: Work) -> None:
    """The same for what was conditioned before: nothing is guessed, NaN are masked."""
    _mask_non_finite(work)
    _require_counts(work)


def require_measured(work: Work, *, allow_masked: bool) -> None:
    """Refuse what holds no counts, or next to no pixels.

    Raises
    ------
    InputError
        If so.
    """
    _require_counts(work)
    if not allow_masked:
        _require_mostly_measured(work)


def summary(measurement: Measurement) -> str:
    """One line in words: size, masked share and why.

    Parameters
    ----------
    measurement : Measurement
        A pattern or a stack, conditioned or not.
    """
    size = size_px(measurement.frame_shape)
    if measurement.lead_shape:
        size = f"{measurement.n_frames} patterns of {size}"
    share = 0.0 if measurement.bad_pixels is None else _share(measurement.bad_pixels)
    if share == 0:
        return f"{size}, nothing masked"
    known = measurement.provenance.get(PREPARED, {})
    why = {"given": "given_px", "beamstop/missing": "missing_px", "saturated": "saturated_px", "not finite": "lost_px"}
    words = ", ".join(f"{name} {px(known[key])}" for name, key in why.items() if known.get(key))
    return f"{size}, {share:.2%} masked" + (f" ({words})" if words else "")


def _share(bad: Any) -> float:
    """Share of the pixels that a mask marks, read frame by frame."""
    marked = sum(int(np.count_nonzero(np.asarray(bad[at]))) for at in np.ndindex(bad.shape[:-2]))
    return float(marked / np.prod(bad.shape, dtype=np.int64))


def px(n: int) -> str:
    """A number of pixels in words."""
    return f"{n:,} px"


def size_px(shape: tuple[int, ...]) -> str:
    """A frame's size in words."""
    return f"{shape[0]} x {shape[1]} px"


def earlier(measurement: Measurement, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier conditioning, which must be what is asked for now."""
    if len(measurement.shape) != 2:
        raise InputError(f"a stack of shape {measurement.shape}", expected="one pattern (y, x)", do="take its frames")
    known: dict[str, Any] | None = measurement.provenance.get(PREPARED)
    if known is None:
        return None
    for name, given in asked.items():
        value = list(given) if isinstance(given, tuple | list) else given
        if value is not None and value != known[name]:
            raise InputError(
                f"{name} = {value} for a pattern that was prepared with {name} = {known[name]}",
                expected="the pattern as it was stored",
                do="start again from the original file",
            )
    return known


def _crop(work: Work, measurement: Measurement, center: tuple[float, float] | None) -> None:
    """Crop to the largest window with the given centre at ``n // 2``."""
    work.record["center"] = None if center is None else [float(c) for c in center]
    if center is None:
        return
    shape = work.values.shape
    rows, columns = (_window(c, n, center) for c, n in zip(center, shape, strict=True))
    at = rows.start + rows.length // 2, columns.start + columns.length // 2
    if at != tuple(center):
        work.notes.append(f"the centre {tuple(center)} was rounded to the pixel {at}")
    work.each(lambda a: a[rows.start : rows.start + rows.length, columns.start : columns.start + columns.length])
    cropped = work.values.shape
    if cropped == shape:
        return
    work.notes.append(f"the frame was cropped from {size_px(shape)} to {size_px(cropped)} around the given centre")
    if measurement.support is not None:
        raise InputError(
            f"a support of {size_px(shape)} for a frame cropped to {size_px(cropped)}",
            expected="a support of the cropped frame",
            do="give it for the cropped frame, or leave the centre out",
        )


def _window(c: float, n: int, center: tuple[float, float]) -> Span:
    """The longest run of a side of n pixels that has the pixel next to `c` at its ``length // 2``."""
    found = span(c, n) if np.isfinite(c) and 0 <= c < n else None
    if found is None or found.length < MIN_FRAME_PX:
        raise InputError(
            f"the centre {tuple(center)}",
            expected=f"a pixel (y, x) of the frame with at least {MIN_FRAME_PX // 2} px around it",
            do="give where the zero frequency lies in the stored array, counted from 0",
        )
    return found


def _mend_mask(work: Work, *, invert_mask: bool) -> None:
    """Bring the mask to our sign: on request, or where it marks what was counted and spares what was not."""
    if invert_mask and not work.masked:
        raise InputError("no mask to invert", expected="a pattern with a mask", do="give the mask, or leave it")
    share = float(work.bad.mean())
    inverted = invert_mask or looks.mask_is_inverted(work.values, work.bad)
    if inverted:
        work.why = np.where(work.bad, 0, REASONS.index("given")).astype(np.uint8)
    if inverted and not invert_mask:
        work.notes.append(
            f"the mask marks {share:.1%} of the pixels, and nearly all counts lie in them: its sign looks wrong, so it "
            f"was inverted, and {work.bad.mean():.1%} are masked now"
        )
    work.record |= {"invert_mask": inverted, "given_px": int(work.bad.sum())}


def _mask_non_finite(work: Work) -> None:
    lost = ~np.isfinite(work.values)
    n = work.drop(lost, "not finite")
    work.values[lost] = 0.0
    work.zero &= ~lost
    work.record["lost_px"] = n
    if n and lost.all():
        raise InputError("a pattern of NaN or infinite values only", expected="counts", do="check the file")
    if n:
        work.notes.append(f"{px(n)} NaN or infinite: masked")


def _require_counts(work: Work) -> None:
    """Refuse what holds nothing to reconstruct from."""
    values = work.measured
    if values.size == 0:
        raise InputError(
            "a pattern with all pixels masked",
            expected="measured pixels",
            do="check the sign of the mask (--invert-mask)",
        )
    low, top = float(values.min()), float(values.max())
    if top <= 0:
        what = "zeros only" if low == top == 0 else f"no positive count, the maximum is {top:g}"
        raise InputError(f"a pattern of {what}", expected="counts", do="check the file and its mask")
    if top - low <= CONSTANT * top:
        raise InputError(
            f"a constant pattern, {top:g} everywhere", expected="a diffraction pattern", do="check the file"
        )
    if not 1 / LARGEST < top < LARGEST:
        raise InputError(f"intensities up to {top:.3g}", expected=f"{1 / LARGEST:g} to {LARGEST:g}", do="rescale them")


def _require_mostly_measured(work: Work) -> None:
    share = float(work.bad.mean())
    if share > MAX_MASKED:
        raise InputError(
            f"a pattern with {share:.1%} of its pixels masked",
            expected=f"at most {MAX_MASKED:.0%}",
            do="check the sign of the mask (--invert-mask), or allow it explicitly",
        )


def _mask_saturated(work: Work, given: float | None) -> None:
    """Mask from a given level on; or the type's maximum, then a full-scale or shared maximum of what is left."""
    levels = []
    n = 0
    if given is not None:
        levels.append(given)
    elif work.ceiling is not None and work.measured.max() >= work.ceiling:
        levels.append(work.ceiling)
    if levels:
        n += work.drop(work.values >= levels[0], "saturated")
    level = looks.saturation_level(work.measured) if given is None else None
    if level is not None:
        levels.append(level)
        n += work.drop(work.values >= level, "saturated")
    work.record["saturated_px"] = n
    if n:
        at = " and ".join(f"{v:g}" for v in levels)
        how = f"at the maximum of {at}" if given is None else f"at {at} or more"
        work.notes.append(f"{px(n)} saturated, {how}: masked")


def clip_negative(work: Work) -> None:
    """Set negative values to 0, and say how many were counted so."""
    negative = (work.values < 0) & (work.why == 0)
    n = int(negative.sum())
    work.record["negative_px"] = n
    if n:
        work.notes.append(f"{px(n)} negative, down to {work.values[negative].min():g}: clipped to 0")
    work.values = work.values.clip(min=0)


def _mend_order(work: Work, fft_order: bool | None, *, centred: bool) -> None:
    """Move the zero frequency from the corner to ``n // 2``, on request or where the energy says so."""
    if centred and fft_order:
        raise InputError("a centre and FFT order", expected="one of them", do="leave one of them out")
    guessing = fft_order is None and not centred
    shift = looks.is_fft_ordered(work.values.clip(min=0), ~work.bad) if guessing else bool(fft_order)
    if shift:
        work.each(np.fft.fftshift)
    if shift and guessing:
        work.notes.append("the energy lies in the corners (FFT order): the zero frequency was moved to n // 2")
    work.record["fft_order"] = shift


def _square(work: Work, amplitude: bool | None) -> None:
    if amplitude is None:
        amplitude = work.measured.min() >= 0 and look_like_amplitudes(work.values.clip(min=0), ~work.bad)
        if amplitude:
            work.notes.append("the values look like amplitudes: squared to intensities (--intensity keeps them)")
    work.record["amplitude"] = bool(amplitude)
    if amplitude:
        work.values = work.values.clip(min=0) ** 2


def _mask_blocks(work: Work) -> None:
    """Mask blocks of zeros among counts."""
    missing, blocks = looks.missing_blocks(work.values, work.zero, work.bad)
    work.record["missing_px"] = n = work.drop(missing, "beamstop or gap")
    if n:
        words = "a block of zeros" if blocks == 1 else f"{blocks} blocks of zeros"
        work.notes.append(f"{px(n)} in {words} among counts, missing (beamstop or gaps): masked")


def _result(measurement: Measurement, work: Work, record: dict[str, Any]) -> Measurement:
    """The conditioned copy; after a crop the object keeps its units and the photons their number."""
    gain = float(np.prod(work.values.shape) / np.prod(measurement.shape))
    return replace(
        measurement,
        intensity=work.values.astype(np.float32),
        bad_pixels=work.bad,
        intensity_scale=measurement.intensity_scale * gain,
        alpha=None if measurement.alpha is None else measurement.alpha * gain**0.5,
        provenance={**measurement.provenance, PREPARED: record},
    )
