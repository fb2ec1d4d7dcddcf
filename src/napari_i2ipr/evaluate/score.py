"""All scores of a reconstruction against a known truth."""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import data_range
from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate import align, coverage, metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Reconstruction


def evaluate(reconstruction: Reconstruction, truth: NDArray[Any]) -> dict[str, Any]:
    """Score a reconstruction, or every item of a stack, up to what a Fourier intensity cannot tell.

    The truth is placed in the frame where ``simulate`` places it (centred, from ``(N - n) // 2``), the
    reconstruction where its box lies. One flip by 180 degrees and one integer shift in the frame are undone,
    those of highest cross-correlation; then the truth's whole box is scored. No intensity is fitted. The data
    range is 255 for an 8-bit truth and max - min for any other. Where truth or reconstruction is complex, the
    global phase is fitted and **amplitudes are compared**.

    Parameters
    ----------
    reconstruction : Reconstruction
        Image and uncertainty, one or a stack.
    truth : ndarray
        One image ``(h, w)`` for all items, or one for each with the same leading axes.

    Returns
    -------
    dict
        ``psnr`` (dB) and ``ssim`` after flip and shift; ``psnr_flip_only`` and ``ssim_flip_only`` after the flip
        alone, as most of the literature counts; ``coverage_90``, ``mean_z2``, ``spearman`` of the uncertainty, over
        the pixels that both boxes hold; ``zero_uncertainty``, the share of these without any; ``flipped`` and
        ``shift_px``, what was undone; ``compared``, ``data_range``, ``uncertainty_kind`` and ``half_width_90``, the
        standard deviations either way of the 90 % interval: as calibrated, else 1.645. For complex objects
        also ``global_phase_rad`` and ``complex_error``, ``||truth - reconstruction|| / ||truth||`` with its phase.
        For a stack all numbers are means, and ``items`` and ``mean`` are added; an item that was not
        reconstructed has NaN and does not count.

    Raises
    ------
    InputError
        When the truth does not fit the reconstruction, or is constant or not finite.
    """
    lead = reconstruction.image.shape[:-2]
    n_items = math.prod(lead)
    truths = _one_for_each(np.asarray(truth), lead)
    images = reconstruction.image.reshape((-1, *reconstruction.image.shape[-2:]))
    spreads = reconstruction.uncertainty.reshape((-1, *reconstruction.uncertainty.shape[-2:]))
    items = [_item(reconstruction, images[i], spreads[i], truths[i % len(truths)]) for i in range(n_items)]
    complex_ = np.iscomplexobj(images) or np.iscomplexobj(truths)
    common = {
        "compared": "amplitude" if complex_ else "value",
        "data_range": float(np.mean([data_range(one) for one in truths])),
        "uncertainty_kind": reconstruction.uncertainty_kind,
        "half_width_90": _half_width(reconstruction),
    }
    if not lead:
        return {**items[0], **common}
    mean = _mean(items)
    return {**mean, **common, "items": items, "mean": mean}


def _one_for_each(truth: NDArray[Any], lead: tuple[int, ...]) -> NDArray[Any]:
    """Truths ``(1 or n, h, w)``, checked."""
    if truth.ndim < 2 or 0 in truth.shape or truth.dtype.kind not in "buifc":
        raise InputError(
            f"a truth of shape {truth.shape} and type {truth.dtype}", expected="an image (y, x) or a stack of them"
        )
    given = truth.shape[:-2]
    if math.prod(given) != 1 and given != lead:
        raise InputError(
            f"{math.prod(given)} truths of axes {given}",
            expected=f"one truth for all, or axes {lead} as the reconstruction has" if lead else "one truth",
            do="give the image, or the stack of images, that the pattern was simulated from",
        )
    truths = truth.reshape((-1, *truth.shape[-2:]))
    if not np.isfinite(truths).all():
        raise InputError("a truth with NaN or infinite pixels", expected="numbers everywhere")
    if any(data_range(one) == 0 for one in truths):
        raise InputError("a constant truth", expected="an image with contrast", do="check the file")
    return truths


def _half_width(result: Reconstruction) -> float:
    """Of the 90 % interval, in standard deviations: as calibrated, else that of normal errors."""
    return result.interval_scales.get("0.9", coverage.Z_90)


def _item(result: Reconstruction, image: NDArray[Any], spread: NDArray[Any], truth: NDArray[Any]) -> dict[str, Any]:
    """Scores of one image of a reconstruction against one truth."""
    box, frame_shape = result.box, result.frame_shape
    truth = truth if truth.dtype.kind in "uifc" else truth.astype(np.float32)
    full_scale = data_range(truth)
    turned = align.register(image, box, truth, frame_shape, shifts=False)
    moved = align.register(image, box, truth, frame_shape)
    if not np.isfinite(image).all():
        return dict.fromkeys(_NUMBERS, math.nan)
    complex_ = np.iscomplexobj(image) or np.iscomplexobj(truth)
    known = _comparable(truth, complex_)
    turned_image = _comparable(turned.bring(image, box) * turned.factor, complex_)
    values = moved.bring(image, box) * moved.factor
    moved_image = _comparable(values, complex_)
    held = moved.bring(np.ones(image.shape, bool), box)
    error, sigma = (moved_image - known)[held], moved.bring(spread, box)[held]
    scores: dict[str, Any] = {
        "psnr": metrics.psnr(known, moved_image, full_scale),
        "ssim": metrics.ssim(known, moved_image, full_scale),
        "psnr_flip_only": metrics.psnr(known, turned_image, full_scale),
        "ssim_flip_only": metrics.ssim(known, turned_image, full_scale),
        "coverage_90": coverage.coverage_90(error, sigma, _half_width(result)),
        "mean_z2": coverage.mean_z2(error, sigma),
        "spearman": coverage.spearman(error, sigma),
        "zero_uncertainty": float(np.mean(sigma <= 0)) if sigma.size else math.nan,
        "flipped": moved.flipped,
        "shift_px": list(moved.shift_px),
    }
    if complex_:
        scores["global_phase_rad"] = cmath.phase(moved.factor)
        scores["complex_error"] = float(np.linalg.norm(values - truth) / np.linalg.norm(truth))
    return scores


_NUMBERS = (
    "psnr",
    "ssim",
    "psnr_flip_only",
    "ssim_flip_only",
    "coverage_90",
    "mean_z2",
    "spearman",
    "zero_uncertainty",
)


def _comparable(values: NDArray[Any], complex_: bool) -> NDArray[Any]:
    """Amplitudes of complex objects, values of real ones, in double precision."""
    return np.asarray(np.abs(values) if complex_ else np.real(values), np.float64)


def _mean(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of the numbers over the items that have them."""
    names = [name for name in (*_NUMBERS, "complex_error") if any(name in item for item in items)]
    means: dict[str, Any] = {}
    for name in names:
        values = [item[name] for item in items if not math.isnan(item.get(name, math.nan))]
        means[name] = sum(values) / len(values) if values else math.nan
    return means
