"""Oversampling: how much larger the frame is than the object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def oversampling(
    values: NDArray[np.float64], bad: NDArray[np.bool_], support: NDArray[np.bool_] | None = None
) -> tuple[float, float] | None:
    """Frame over object per axis ``(y, x)``; None where the autocorrelation fills the frame.

    The object's box is that of the support, or else half of the autocorrelation's extent.

    Parameters
    ----------
    values : ndarray
        Intensities >= 0, zero frequency at ``n // 2``, ``(y, x)``.
    bad : ndarray of bool
        Pixels that were not measured.
    support : ndarray of bool, optional
        Where the object can be, same shape.
    """
    inside = _outline(values, bad) if support is None else np.asarray(support, bool)
    if inside is None or not inside.any():
        return None
    y, x = (
        float(n / (np.ptp(np.flatnonzero(inside.any(axis))) + 1)) for n, axis in zip(inside.shape, (1, 0), strict=True)
    )
    return y, x


def _outline(values: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    import torch

    from napari_i2ipr.physics.support import autocorrelation_support

    if not (values[~bad] > 0).any():
        return None
    centred = np.fft.ifftshift(np.where(bad, 0.0, values)).astype(np.float32)
    try:
        found = autocorrelation_support(torch.from_numpy(centred), torch.from_numpy(np.fft.ifftshift(~bad)))
    except InputError:
        return None
    inside: NDArray[np.bool_] = found.numpy()
    return inside
