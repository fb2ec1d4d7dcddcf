"""From the data of an image layer to the object that a pattern is simulated of: grey values, cropped or resized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fit = Literal["crop", "resize"]
"""How an image is brought to the object's size: its middle, or all of it with the longer side that long."""

MIN_PX, MAX_PX = 16, 512
"""Smallest and largest side of an object."""


def object_shape(shape: tuple[int, int], size: int, fit: Fit) -> tuple[int, int]:
    """Shape ``(y, x)`` of the object.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    size : int
        Side asked for, in pixels; a smaller image is not enlarged by cropping.
    fit : str
        ``"crop"`` or ``"resize"``.
    """
    ny, nx = shape
    if fit == "crop":
        return min(ny, size), min(nx, size)
    factor = size / max(ny, nx)
    return max(round(ny * factor), 1), max(round(nx * factor), 1)


def make_object(values: NDArray[Any], *, rgb: bool, size: int, fit: Fit) -> tuple[NDArray[Any], list[str]]:
    """The object, or a stack of objects, and what was done to the values beside cropping.

    Parameters
    ----------
    values : ndarray
        ``(..., y, x)``, or ``(..., y, x, 3 or 4)`` for colours.
    rgb : bool
        Whether the last axis holds colours, which become luminance.
    size, fit
        See `object_shape`.

    Returns
    -------
    tuple
        Non-negative values ``(..., h, w)``, uint8 where the image was; and notes for the user.

    Raises
    ------
    InputError
        When a side gets too short, or values are not finite.
    """
    grey = luminance(values) if rgb else np.asarray(values)
    shape = object_shape((grey.shape[-2], grey.shape[-1]), size, fit)
    if min(shape) < MIN_PX:
        raise InputError(
            f"an object of {shape[0]} x {shape[1]} px",
            expected=f"at least {MIN_PX} px a side",
            do="choose a larger image or object",
        )
    fitted = _cropped(grey, shape) if fit == "crop" else _resized(grey, shape)
    if not np.isfinite(fitted).all():
        raise InputError("an image with NaN or infinite values", expected="finite values", do="mend it first")
    lowest = float(fitted.min())
    if lowest >= 0:
        return fitted, []
    return fitted - fitted.dtype.type(lowest), [f"{-lowest:.4g} was added to all values, which were negative"]


def luminance(colours: NDArray[Any]) -> NDArray[Any]:
    """Luminance ``(..., y, x)`` of colours ``(..., y, x, 3 or 4)``: 8-bit stays 8-bit, the rest becomes float."""
    from skimage.color import rgb2gray

    grey = rgb2gray(np.asarray(colours)[..., :3])
    return np.round(255 * grey).astype(np.uint8) if colours.dtype == np.uint8 else grey


def _cropped(grey: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    y, x = ((n - h) // 2 for n, h in zip(grey.shape[-2:], shape, strict=True))
    cropped = grey[..., y : y + shape[0], x : x + shape[1]]
    return cropped if cropped.dtype.kind != "i" else cropped.astype(np.float64)


def _resized(grey: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Resized without aliases, frame by frame."""
    from skimage.transform import resize

    if grey.shape[-2:] == shape:
        return _cropped(grey, shape)
    frames = grey.reshape(-1, *grey.shape[-2:])
    made = np.stack([resize(frame.astype(np.float64), shape, anti_aliasing=True) for frame in frames])
    made = made.reshape(*grey.shape[:-2], *shape)
    return np.clip(np.round(made), 0, 255).astype(np.uint8) if grey.dtype == np.uint8 else made
