"""Image metrics as the literature counts them: no intensity is fitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SSIM_SIGMA_PX = 1.5
"""Gaussian weights of SSIM (Wang et al. 2004)."""

_SSIM_WINDOW_PX = 2 * round(3.5 * SSIM_SIGMA_PX) + 1


def psnr(truth: NDArray[Any], image: NDArray[Any], data_range: float) -> float:
    """``10 log10(range^2 / mean squared difference)`` in dB; infinite where the two are equal.

    Parameters
    ----------
    truth, image : ndarray
        Real images of one shape.
    data_range : float
        What counts as full scale; see `napari_i2ipr.data.data_range`.
    """
    difference = np.asarray(image, np.float64) - np.asarray(truth, np.float64)
    mean_square = float(np.mean(np.square(difference)))
    return 10 * math.log10(data_range**2 / mean_square) if mean_square > 0 else math.inf


def ssim(truth: NDArray[Any], image: NDArray[Any], data_range: float) -> float:
    """Structural similarity, scikit-image's, with Gaussian weights of sigma 1.5 px and population covariance.

    Parameters
    ----------
    truth, image : ndarray
        Real images of one shape, at least 11 px a side.
    data_range : float
        What counts as full scale.

    Raises
    ------
    InputError
        When the images are smaller than the window.
    """
    if min(truth.shape) < _SSIM_WINDOW_PX:
        raise InputError(
            f"a truth of {truth.shape[0]} x {truth.shape[1]} px", expected=f"at least {_SSIM_WINDOW_PX} px a side"
        )
    import skimage.metrics

    structural_similarity: Any = skimage.metrics.structural_similarity  # its arguments are not typed
    return float(
        structural_similarity(
            np.asarray(truth, np.float64),
            np.asarray(image, np.float64),
            data_range=data_range,
            gaussian_weights=True,
            sigma=SSIM_SIGMA_PX,
            use_sample_covariance=False,
        )
    )
