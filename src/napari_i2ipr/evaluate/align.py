"""Registration of a reconstruction with a known truth: one flip, one integer shift, one global phase.

The Fourier modulus tells an object neither from its twin (turned by 180 degrees, conjugate), nor from its
shifts, nor from its multiples of modulus 1. A score that did not undo these would measure a coin's toss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""``(y0, x0, h, w)`` in the DC-centred frame."""

_TIE = 1e-6
"""Relative advantage that the flip needs: a symmetric object stays as it is."""


@dataclass(frozen=True)
class Registration:
    """What brings a reconstruction onto the truth, in this order.

    Attributes
    ----------
    flipped : bool
        Turn by 180 degrees about the centre of the truth's box; a complex object is conjugated too.
    shift_px : tuple of int
        Shift ``(y, x)`` in pixels, circular in the frame.
    factor : complex
        Number of modulus 1 that the values are multiplied by; 1 or -1 for real objects.
    place : tuple of int
        The truth's box.
    frame_shape : tuple of int
        Shape ``(y, x)`` of the frame.
    """

    flipped: bool
    shift_px: tuple[int, int]
    factor: complex
    place: Box
    frame_shape: tuple[int, int]

    def bring(self, image: NDArray[Any], box: Box) -> NDArray[Any]:
        """What an image that lies in `box` shows in the truth's box; `factor` is not applied."""
        frame = in_frame(image, box, self.frame_shape)
        turned = flip(frame, self.place) if self.flipped else frame
        y0, x0, h, w = self.place
        return np.roll(turned, self.shift_px, axis=(0, 1))[y0 : y0 + h, x0 : x0 + w]


def truth_box(truth_shape: tuple[int, int], frame_shape: tuple[int, int]) -> Box:
    """Where `i2ipr simulate` puts an image of this shape: centred, from ``(N - n) // 2``.

    Raises
    ------
    InputError
        When the truth is larger than the frame.
    """
    if truth_shape[0] > frame_shape[0] or truth_shape[1] > frame_shape[1]:
        raise InputError(
            f"a truth of {truth_shape[0]} x {truth_shape[1]} px",
            expected=f"at most the {frame_shape[0]} x {frame_shape[1]} px of the pattern",
            do="give the image that the pattern was simulated from",
        )
    (h, w), (ny, nx) = truth_shape, frame_shape
    return (ny - h) // 2, (nx - w) // 2, h, w


def in_frame(image: NDArray[Any], box: Box, frame_shape: tuple[int, int]) -> NDArray[Any]:
    """The image at its place in an empty frame."""
    y0, x0, h, w = box
    frame = np.zeros(frame_shape, image.dtype)
    frame[y0 : y0 + h, x0 : x0 + w] = image
    return frame


def flip(frame: NDArray[Any], box: Box) -> NDArray[Any]:
    """A frame turned by 180 degrees about the centre of a box; complex values are conjugated."""
    y0, x0, h, w = box
    ny, nx = frame.shape
    turned = np.roll(frame[::-1, ::-1], (2 * y0 + h - ny, 2 * x0 + w - nx), axis=(0, 1))
    return turned.conj()


def register(
    image: NDArray[Any], box: Box, truth: NDArray[Any], frame_shape: tuple[int, int], *, shifts: bool = True
) -> Registration:
    """The flip, shift and factor of highest cross-correlation with the truth in the padded frame.

    Among these transforms, none of which changes the energy in the frame, the highest correlation is the
    least squared difference.

    Parameters
    ----------
    image : ndarray
        Reconstruction ``(h, w)``.
    box : tuple of int
        Where it lies in the frame.
    truth : ndarray
        Truth, of any size that the frame holds.
    frame_shape : tuple of int
        Shape ``(y, x)`` of the frame.
    shifts : bool
        Search shifts as well; off, the flip only.

    Raises
    ------
    InputError
        When the truth is larger than the frame.
    """
    place = truth_box((truth.shape[0], truth.shape[1]), frame_shape)
    frame, target = in_frame(image, box, frame_shape), in_frame(truth, place, frame_shape)
    straight, at_straight, shift_straight = _peak(frame, target, shifts)
    turned, at_turned, shift_turned = _peak(flip(frame, place), target, shifts)
    if turned > straight * (1 + _TIE):
        return Registration(True, shift_turned, at_turned, place, frame_shape)
    return Registration(False, shift_straight, at_straight, place, frame_shape)


def _peak(frame: NDArray[Any], truth: NDArray[Any], shifts: bool) -> tuple[float, complex, tuple[int, int]]:
    """Highest modulus of the circular cross-correlation, its phase factor, and its shift."""
    import scipy.fft

    if np.iscomplexobj(frame) or np.iscomplexobj(truth):
        wide_truth, wide = np.asarray(truth, np.complex128), np.asarray(frame, np.complex128)
        correlation = scipy.fft.ifft2(scipy.fft.fft2(wide_truth) * np.conj(scipy.fft.fft2(wide)))
    else:
        spectrum = scipy.fft.rfft2(np.asarray(truth, np.float64))
        spectrum = spectrum * np.conj(scipy.fft.rfft2(np.asarray(frame, np.float64)))
        correlation = scipy.fft.irfft2(spectrum, s=frame.shape)
    modulus = np.abs(correlation)
    ny, nx = frame.shape
    y, x = divmod(int(modulus.argmax()), nx) if shifts else (0, 0)
    value, size = complex(correlation[y, x]), float(modulus[y, x])
    shift = (y - ny if y > ny // 2 else y, x - nx if x > nx // 2 else x)
    return size, value / size if size > 0 else 1 + 0j, shift
