"""The pattern that a command works on: file, mask, support and centre, as the options say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement


SUPPORT_WORDS = ("half", "auto")
"""What `--support` says other than a file."""


def parse_center(text: str | None) -> tuple[float, float] | None:
    """``"Y,X"`` as two numbers.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if text is None:
        return None
    try:
        y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"the centre {text!r}", expected="Y,X in pixels", do='write e.g. "--center 127.5,128"'
        ) from None
    return y, x


@dataclass(frozen=True)
class PatternOptions:
    """What the options say of a pattern beyond its file; defaults leave all to the file and to the guesses.

    Attributes
    ----------
    support : str or None
        ``"half"``, ``"auto"`` or a file, in place of the file's own support.
    mask : str or None
        A file, in place of the file's own mask.
    invert_mask, allow_masked : bool
        Whether non-zero means good; whether more than 90 % may be masked.
    amplitude : bool or None
        Whether the file holds amplitudes.
    center : tuple of float or None
        The zero frequency ``(y, x)`` in pixels.
    """

    support: str | None = None
    mask: str | None = None
    invert_mask: bool = False
    allow_masked: bool = False
    amplitude: bool | None = None
    center: tuple[float, float] | None = None


def read_pattern(path: str, options: PatternOptions) -> tuple[Measurement, tuple[str, ...]]:
    """The measurement in a file as the options want it, and what had to be said of it.

    Without options it comes as the file holds it. With any that `condition` needs, it comes conditioned: a stack then
    lies in memory, in float32.

    Parameters
    ----------
    path : str
        File, or ``file.h5::/path``.
    options : PatternOptions
        See there.

    Raises
    ------
    FormatError, InputError
        If a file cannot be used.
    """
    from napari_i2ipr import io

    measurement = io.read(path)
    if options.support is not None:
        measurement = replace(measurement, support=None)
    if options.mask is not None:
        bad = _flags(options.mask)
        with _naming("mask", options.mask):
            measurement = replace(measurement, bad_pixels=bad)
    notes: tuple[str, ...] = ()
    if replace(options, support=None, mask=None) != PatternOptions():
        measurement, notes = _conditioned(measurement, options)
    if options.support is not None and options.support not in SUPPORT_WORDS:
        inside = _flags(options.support)
        with _naming("support", options.support):
            measurement = replace(measurement, support=inside)
    return measurement, notes


def _conditioned(measurement: Measurement, options: PatternOptions) -> tuple[Measurement, tuple[str, ...]]:
    """Every frame conditioned with the options; notes of several frames are given once."""
    import numpy as np

    from napari_i2ipr.prepare import condition

    done = [
        condition(
            measurement.frame(index),
            amplitude=options.amplitude,
            center=options.center,
            invert_mask=options.invert_mask,
            allow_masked=options.allow_masked,
        )
        for index in range(measurement.n_frames)
    ]
    notes = tuple(dict.fromkeys(note for _, found in done for note in found))
    first = done[0][0]
    if not measurement.lead_shape:
        return first, notes
    shape = (*measurement.lead_shape, *first.frame_shape)
    return (
        replace(
            first,
            intensity=np.stack([frame.intensity for frame, _ in done]).reshape(shape),
            bad_pixels=np.stack([np.asarray(frame.bad_pixels) for frame, _ in done]).reshape(shape),
            axes=measurement.axes,
        ),
        notes,
    )


def _flags(path: str) -> Any:
    """Where a file's array is not zero; leading axes of length 1 are dropped."""
    import numpy as np

    from napari_i2ipr import io

    array = io.read_array(path)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.dtype.kind not in "buif":
        raise InputError(f"an array of type {array.dtype} in {path}", expected="real numbers, non-zero where it counts")
    return np.nan_to_num(array, nan=0.0) != 0


@contextmanager
def _naming(what: str, path: str) -> Iterator[None]:
    """Say which file an error about a shape is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error.got} in {path}", expected=error.expected, do=f"check --{what}") from None
