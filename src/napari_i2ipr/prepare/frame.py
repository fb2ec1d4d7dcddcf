"""The frame: cropped or padded about the zero frequency, and binned.

Counts are moved and summed, never interpolated: what is left of the centre below a pixel is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Span:
    """One side of the new frame, in pixels of the old one.

    Attributes
    ----------
    start : int
        First pixel; negative where the new frame begins before the old one.
    length : int
        Pixels of the new frame.
    binning : int
        Old pixels in a new one.
    remainder : float
        Centre less the middle of the new pixel ``length // 2``, in new pixels, -0.5 ... 0.5.
    """

    start: int
    length: int
    binning: int = 1
    remainder: float = 0.0

    @property
    def stop(self) -> int:
        """Behind the last pixel."""
        return self.start + self.length * self.binning


def span(
    center: float, n: int, *, binning: int = 1, length: int | None = None, pad: bool = False, fast: bool = False
) -> Span:
    """The side of a frame that has its zero frequency at ``length // 2``.

    Parameters
    ----------
    center : float
        Zero frequency in pixels of the old side.
    n : int
        Pixels of the old side.
    binning : int
        Old pixels in a new one, >= 1.
    length : int, optional
        Pixels of the new side; as many as there are when None.
    pad : bool
        Whether the new side holds all of the old one, with pixels beyond it, or only pixels of it.
    fast : bool
        Whether its length is one that FFTs are fast for (factors 2, 3, 5): shorter, or with `pad` longer.

    Notes
    -----
    With even bins a centre between two pixels falls on the middle of a bin, with odd ones a centre on a pixel.
    A tie is decided for the longer side.
    """
    exact = center - (binning - 1) / 2
    below = int(np.floor(exact))
    ties = [below, below + 1] if exact - below == 0.5 else [int(np.round(exact))]
    lengths = {first: _length(first, n, binning, pad=pad) for first in ties}
    first = max(ties, key=lambda at: (-lengths[at] if pad else lengths[at], at))
    found = lengths[first] if length is None else length
    if fast and length is None and found > 0:
        found = int(fft.next_fast_len(found, real=True) if pad else fft.prev_fast_len(found, real=True))
    return Span(first - found // 2 * binning, found, binning, (exact - first) / binning)


def _length(first: int, n: int, b: int, *, pad: bool) -> int:
    """Length of a side whose middle bin begins at the old pixel `first`."""
    left, right = first / b, (n - first - b) / b
    if pad:
        before, after = int(np.ceil(left)), int(np.ceil(right))
        return max(2 * before, 2 * after + 1, 2 * before + 1 if after == before else 0, 1)
    before, after = int(np.floor(left)), int(np.floor(right))
    return max(2 * min(before, after + 1), 2 * min(before, after) + 1, 0)


def taken(array: NDArray[Any], rows: Span, columns: Span, fill: Any) -> NDArray[Any]:
    """The new frame before binning; pixels outside the old one hold `fill`."""
    ny, nx = array.shape
    out = np.full((rows.stop - rows.start, columns.stop - columns.start), fill, dtype=array.dtype)
    y0, y1, x0, x1 = max(rows.start, 0), min(rows.stop, ny), max(columns.start, 0), min(columns.stop, nx)
    if y1 > y0 and x1 > x0:
        out[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start] = array[y0:y1, x0:x1]
    return out


def binned(
    values: NDArray[np.float64], why: NDArray[np.uint8], b: int, share: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Sums of ``b x b`` pixels, and why a sum is bad.

    Parameters
    ----------
    values : ndarray
        Intensities ``(y, x)``; both sides are multiples of `b`.
    why : ndarray of uint8
        0 for good pixels, same shape.
    b : int
        Bin, >= 1.
    share : float
        A bin is bad when more than this share of its pixels is; in others the sum is scaled for those missing.
    """
    if b == 1:
        return values, why
    ny, nx = (n // b for n in values.shape)
    tiles = (ny, b, nx, b)
    good = why == 0
    count = good.reshape(tiles).sum((1, 3))
    total = np.where(good, values, 0.0).reshape(tiles).sum((1, 3))
    bad = (b * b - count > share * b * b) | (count == 0)
    reason = why.reshape(tiles).max((1, 3))
    return np.where(bad, 0.0, total * (b * b / np.maximum(count, 1))), np.where(bad, reason, 0).astype(np.uint8)


def support_in(support: NDArray[np.bool_], rows: Span, columns: Span) -> NDArray[np.bool_]:
    """A support of the old frame in the new one.

    The object's pixel grows as the frame is cropped, and its field of view shrinks as pixels are binned; the
    nearest pixel is taken, and there is nothing beyond the old field of view.

    Parameters
    ----------
    support : ndarray of bool
        ``(y, x)``, DC-centred.
    rows, columns : Span
        The new frame's sides.
    """
    kept, inside = [], []
    for n, side in zip(support.shape, (rows, columns), strict=True):
        ratio = n / (side.length * side.binning)
        at = np.rint(n // 2 + (np.arange(side.length) - side.length // 2) * ratio).astype(np.intp)
        inside.append((at >= 0) & (at < n))
        kept.append(at.clip(0, n - 1))
    found: NDArray[np.bool_] = np.asarray(support, bool)[np.ix_(*kept)] & np.logical_and.outer(*inside)
    return found
