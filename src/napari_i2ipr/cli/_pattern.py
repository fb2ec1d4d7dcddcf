"""The pattern that a command works on: file, mask, support and centre, as the options say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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


def read_pattern(path: str, *, support: str | None, mask: str | None) -> Measurement:
    """The measurement in a file, with the support and mask of the options.

    Parameters
    ----------
    path : str
        File, or ``file.h5::/path``.
    support : str or None
        A file's support takes the place of the pattern's own; ``"half"`` and ``"auto"`` remove it.
    mask : str or None
        A file's mask takes the place of the pattern's own.

    Raises
    ------
    FormatError, InputError
        If a file cannot be used.
    """
    from napari_i2ipr import io

    measurement = io.read(path)
    if support in SUPPORT_WORDS:
        measurement = replace(measurement, support=None)
    elif support is not None:
        inside = _flags(support)
        with _naming("support", support):
            measurement = replace(measurement, support=inside)
    if mask is not None:
        bad = _flags(mask)
        with _naming("mask", mask):
            measurement = replace(measurement, bad_pixels=bad)
    return measurement


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
