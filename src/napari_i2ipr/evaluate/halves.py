"""Two true halves of one measurement: every photon goes to one of them, by the toss of a coin."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Status
from napari_i2ipr.errors import CancelledError, InputError
from napari_i2ipr.evaluate.agreement import photon
from napari_i2ipr.evaluate.align import in_frame
from napari_i2ipr.evaluate.resolution import frc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate.resolution import Curve
    from napari_i2ipr.progress import Cancel, OnEvent

TAPER = 0.05
"""Share of each side over which the images are faded out before they are compared."""

_STREAM = (0, 0, 2)
"""Spawn key of the coins."""


@dataclass(frozen=True)
class Halves:
    """What the comparison of two half-dose reconstructions gave.

    Attributes
    ----------
    frc : Curve
        Fourier ring correlation of the delivered images with the half-bit threshold: its crossing is the resolution
        of the reconstruction from all photons.
    frc_classical : Curve or None
        The same of the classical means, where the images were refined: the network that both share cannot raise it.
    reconstructions : tuple of Reconstruction
        Both, as they were delivered.
    photons : float
        Photons in the whole pattern.
    """

    frc: Curve
    frc_classical: Curve | None
    reconstructions: tuple[Reconstruction, Reconstruction]
    photons: float


def thinned(frame: Measurement, photon_intensity: float, seed: int = 0) -> tuple[Measurement, Measurement]:
    """The two halves of a pattern by binomial thinning: independent Poisson counts of half the dose each.

    Parameters
    ----------
    frame : Measurement
        One conditioned pattern.
    photon_intensity : float
        Unitary intensity of one photon in object units squared, see `napari_i2ipr.evaluate.agreement.photon`.
        Counts are rounded to whole photons.
    seed : int
        Fixes the coins.

    Returns
    -------
    tuple of Measurement
        Their counts in photons, which add up to those of `frame`; scales are such that the object keeps its units.

    Raises
    ------
    InputError
        When photons cannot be counted, or there are none to share.
    """
    if not (math.isfinite(photon_intensity) and photon_intensity > 0):
        raise InputError(
            "a pattern whose photons cannot be counted",
            expected="a known noise level, or whole numbers",
            do="give a pattern in photons",
        )
    bad = np.zeros(frame.shape, bool) if frame.bad_pixels is None else np.asarray(frame.bad_pixels, bool)
    seen = np.where(bad, 0, np.asarray(frame.intensity, np.float64)) * frame.intensity_scale
    counts = np.rint(seen / photon_intensity).astype(np.int64)
    if counts.sum() < 2:
        raise InputError(f"a pattern of {counts.sum()} photons", expected="photons for two halves")
    first = np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=_STREAM)).binomial(counts, 0.5)
    alpha = math.sqrt(2 * photon_intensity / 4)

    def half(values: NDArray[Any]) -> Measurement:
        return replace(frame, intensity=values.astype(np.float32), intensity_scale=2 * photon_intensity, alpha=alpha)

    return half(first), half(counts - first)


def compare_halves(
    reconstruction: Reconstruction,
    frame: Measurement,
    config: Config,
    *,
    device: str = "auto",
    seed: int = 0,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Halves:
    """Reconstruct both halves of a pattern with the same settings and correlate them.

    Parameters
    ----------
    reconstruction : Reconstruction
        That of the whole pattern; it says how photons are counted, and where the object is.
    frame : Measurement
        The pattern, conditioned.
    config : Config
        Settings of the reconstruction. The second half takes other random starts.
    device, on_event, cancel
        As for `napari_i2ipr.reconstruct`.
    seed : int
        Fixes the coins.

    Raises
    ------
    InputError
        When photons cannot be counted.
    CancelledError
        When it was stopped: half-done halves have no resolution.
    """
    intensity, _ = photon(reconstruction, frame)
    halves = thinned(_with_support(reconstruction, frame), intensity, seed)
    settings = (config, config.replace(seed=config.seed + 1))
    from napari_i2ipr.pipeline import reconstruct

    one, other = (
        reconstruct(half, known, device=device, on_event=on_event, cancel=cancel)
        for half, known in zip(halves, settings, strict=True)
    )
    if Status.CANCELLED in (one.status, other.status):
        raise CancelledError("a stop before both halves were reconstructed", do="run it again")
    photons = float(sum(np.asarray(half.intensity, np.float64).sum() for half in halves))
    classical = None
    if one.classical is not None and other.classical is not None:
        classical = correlate(one, one.classical, other.classical)
    return Halves(correlate(one, one.image, other.image), classical, (one, other), photons)


def correlate(like: Reconstruction, first: NDArray[Any], second: NDArray[Any]) -> Curve:
    """FRC of two images in the box of `like`, after twin, shift, sign and global phase are undone."""
    import torch

    from napari_i2ipr.physics.symmetry import align

    pair = align(torch.from_numpy(np.stack([first, second]))).images.numpy()
    return frc(pair[0], pair[1], pixel_m=like.pixel_m, taper=TAPER)


def _with_support(reconstruction: Reconstruction, frame: Measurement) -> Measurement:
    """The frame with a support, so that both halves have the same: its own, else the box of the whole result."""
    if frame.support is not None:
        return frame
    box = np.ones(reconstruction.image.shape, bool)
    return replace(frame, support=in_frame(box, reconstruction.box, reconstruction.frame_shape))
