"""From an image to the pattern a detector would see: oversampled, noisy, with the detector's faults.

Noise is the I2I-PR paper's (arXiv 2507.09609) or that of photons, see `napari_i2ipr.physics.noise`. The image
never enters the measurement; torch is imported where it is used.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement, data_range
from napari_i2ipr.errors import CancelledError, ConfigError, InputError
from napari_i2ipr.progress import Event
from napari_i2ipr.simulation_options import OPTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.progress import Cancel, OnEvent

PAPER_RANGE = 255.0
"""The paper's alpha is defined for images of this range."""

_NOISE_STREAM = (0, 0, 0)
"""Spawn key of the noise; the frame's index follows. Longer than any key of a reconstruction."""

_DEAD_STREAM = (0, 0, 1)
"""Spawn key of the dead pixels."""


STAGE = "simulate"
"""Stage of the progress events; counts patterns."""


@dataclass(frozen=True)
class _Settings:
    """The arguments of `simulate`, checked; they become the provenance."""

    alpha: float | None
    photons: float | None
    oversampling: float
    beamstop_px: float
    saturation: float | None
    dead_pixels: int
    offset: float
    seed: int

    def __post_init__(self) -> None:
        if self.alpha is not None and self.photons is not None:
            raise ConfigError("alpha and photons", expected="one of them", do="leave one of them out")
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if not option.allows(value):
                raise ConfigError(f"{name} = {value!r}", expected=option.words())


def simulate(
    image: NDArray[Any],
    *,
    alpha: float | None = None,
    photons: float | None = None,
    oversampling: float = OPTIONS["oversampling"].default,
    beamstop_px: float = OPTIONS["beamstop_px"].default,
    saturation: float | None = None,
    dead_pixels: int = OPTIONS["dead_pixels"].default,
    offset: float = OPTIONS["offset"].default,
    seed: int = OPTIONS["seed"].default,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Measurement:
    """Simulate the far-field pattern of an image, or of every image of a stack.

    Parameters
    ----------
    image : ndarray
        Object ``(..., y, x)`` in its own units: real and non-negative, or complex.
    alpha : float, optional
        Noise level of the I2I-PR paper, >= 0, for an image of range 255; scaled with the range of this
        one (`napari_i2ipr.data.data_range`, of the whole stack).
    photons : float, optional
        Expected photons in a pattern, > 0 (in a stack on the average, at one exposure); intensities are
        then whole counts.
    oversampling : float
        Frame over object size per axis, 1 ... 64: frames have ``ceil(oversampling * n)`` pixels.
    beamstop_px : float
        Radius in pixels of a blocked disc about the zero frequency, marked as bad; 0 for none.
    saturation : float, optional
        Level at which the detector ends, in stored units. Not marked as bad: a detector does not tell.
    dead_pixels : int
        Number of pixels that hold 0 and are marked as bad, the same in all frames.
    offset : float
        Added to every pixel by the detector, in stored units.
    seed : int
        Fixes all random numbers, with the index of the frame.
    on_event : callable, optional
        Called with an `Event` after every pattern.
    cancel : Cancel, optional
        Stops before the next pattern.

    Returns
    -------
    Measurement
        Zero frequency at ``n // 2``. But for the offset, ``intensity * intensity_scale`` is in the object's
        units squared; `alpha` is in the object's units, 0 without noise. The support is set unless it is
        the half box.

    Raises
    ------
    ConfigError, InputError
        If a setting is out of range; if the image is negative, not finite, zero or too small.
    CancelledError
        If it was stopped.
    """
    settings = _Settings(alpha, photons, oversampling, beamstop_px, saturation, dead_pixels, offset, seed)
    return _simulated(image, settings, on_event, cancel)


def frame_shape(size: tuple[int, int], oversampling: float) -> tuple[int, int]:
    """Shape of the pattern of an object: ``ceil(oversampling * n)`` per axis, not fooled by the last bit of 1.1 * 10.

    Parameters
    ----------
    size : tuple of int
        Object ``(y, x)`` in pixels.
    oversampling : float
        See `simulate`.
    """
    ny, nx = (math.ceil(round(oversampling * n, 6)) for n in size)
    return ny, nx


def photons_of_alpha(image: NDArray[Any], alpha: float) -> float:
    """Photons in the pattern of an image, on the average over a stack, at which its noise is that of `alpha`.

    Parameters
    ----------
    image : ndarray
        Object ``(..., y, x)``.
    alpha : float
        Noise level of the paper, > 0, as for `simulate`: ``photons = sum |image|^2 / (4 alpha^2)`` (Parseval) with
        alpha scaled by the image's range.
    """
    values = np.asarray(image)
    mean_total = float((np.abs(values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)) ** 2).sum())
    mean_total /= max(math.prod(values.shape[:-2]), 1)
    return mean_total / (4 * (alpha * data_range(values) / PAPER_RANGE) ** 2)


def _simulated(
    image: NDArray[Any], settings: _Settings, on_event: OnEvent | None, cancel: Cancel | None
) -> Measurement:
    objects = _checked(image)
    lead, size = objects.shape[:-2], (objects.shape[-2], objects.shape[-1])
    frame = frame_shape(size, settings.oversampling)
    stack = objects.reshape(-1, *size)
    clean_totals = [float((np.abs(one) ** 2).sum(dtype=np.float64)) for one in stack]  # Parseval
    own_alpha, scale = _levels(settings, image, float(np.mean(clean_totals)))
    bad = _bad_pixels(settings, frame)
    patterns = np.empty((len(stack), *frame), dtype=np.float32)
    for index, one in enumerate(stack):
        if cancel is not None and cancel.is_set():
            raise CancelledError(f"a stop after {index} of {len(stack)} patterns", do="run it again")
        ideal = _pattern(one, frame)
        noisy = _noisy(ideal, settings, own_alpha, clean_totals[index] / scale, index)
        patterns[index] = _detected(noisy, settings, bad)
        if on_event is not None:
            on_event(Event(STAGE, index + 1, len(stack)))
    return Measurement(
        patterns.reshape(*lead, *frame),
        bad_pixels=None if bad is None else bad[0] | bad[1],
        support=_support(size, frame),
        intensity_scale=scale,
        alpha=own_alpha,
        provenance={"source": "simulation", "simulation": {**_plain(settings), "object_shape": list(size)}},
    )


def _plain(settings: _Settings) -> dict[str, Any]:
    """The settings as JSON-able numbers."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in asdict(settings).items()}


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    """The image in double precision."""
    values = np.asarray(image)
    if values.ndim < 2 or 0 in values.shape:
        raise InputError(
            f"an image of shape {values.shape}", expected="axes (..., y, x)", do="give an image or a stack"
        )
    if values.dtype.kind not in "buifc":
        raise InputError(f"an image of type {values.dtype}", expected="numbers", do="check the file")
    objects = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    if not np.isfinite(objects).all():
        raise InputError("an image with NaN or infinite values", expected="finite values", do="mend it first")
    if values.dtype.kind != "c" and objects.min() < 0:
        raise InputError(
            f"an image with negative values (down to {objects.min():g})",
            expected="a non-negative real image, or a complex one",
            do="clip it, or give it as complex numbers",
        )
    if not objects.any(axis=(-2, -1)).all():
        raise InputError("an image of zeros", expected="an object", do="check the file")
    return objects


def _levels(settings: _Settings, image: NDArray[Any], mean_total: float) -> tuple[float, float]:
    """Alpha in the object's units, and object units squared per stored unit."""
    from napari_i2ipr.physics.noise import alpha_of_photons

    if settings.photons is not None:
        return alpha_of_photons(mean_total, settings.photons), mean_total / settings.photons
    if not settings.alpha:
        return 0.0, 1.0
    span = data_range(np.asarray(image))
    if span <= 0:
        raise InputError(
            "an image of one value only",
            expected="a range by which alpha is defined",
            do="give photons instead of alpha",
        )
    return settings.alpha * span / PAPER_RANGE, 1.0


def _pattern(one: NDArray[Any], frame: tuple[int, int]) -> Any:
    """Noise-free unitary intensities, zero frequency at ``n // 2``, as a float64 tensor."""
    import torch

    from napari_i2ipr.physics.fourier import FourierPair

    pair = FourierPair(frame, half=not np.iscomplexobj(one))
    padded = np.zeros(frame, dtype=one.dtype)
    padded[_box(one.shape, frame)] = one
    kept = pair.forward(torch.from_numpy(padded)).abs().square()
    return torch.fft.fftshift(pair.expand(kept))


def _noisy(ideal: Any, settings: _Settings, own_alpha: float, photons: float, index: int) -> NDArray[np.float64]:
    import torch

    from napari_i2ipr.physics.noise import add_alpha_noise, add_photon_noise
    from napari_i2ipr.physics.problem import generator

    own_seed = int(generator(settings.seed, *_NOISE_STREAM, index).integers(2**63))
    numbers = torch.Generator().manual_seed(own_seed)
    if settings.photons is not None:
        ideal = add_photon_noise(ideal, photons, numbers)
    elif own_alpha > 0:
        ideal = add_alpha_noise(ideal, own_alpha, numbers)
    values: NDArray[np.float64] = ideal.numpy()
    return values


def _detected(values: NDArray[np.float64], settings: _Settings, bad: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """What the detector makes of it: blocked, offset, dead, saturated."""
    if bad is not None:
        values[bad[0]] = 0.0
    values += settings.offset
    if bad is not None:
        values[bad[1]] = 0.0
    if settings.saturation is not None:
        np.minimum(values, settings.saturation, out=values)
    return values.astype(np.float32)


def _bad_pixels(settings: _Settings, frame: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Beamstop and dead pixels, ``(2, y, x)``; None without either."""
    from napari_i2ipr.physics.problem import generator

    if settings.beamstop_px == 0 and settings.dead_pixels == 0:
        return None
    ny, nx = frame
    bad = np.zeros((2, ny, nx), dtype=bool)
    if settings.beamstop_px > 0:
        ky, kx = np.arange(ny)[:, None] - ny // 2, np.arange(nx) - nx // 2
        bad[0] = np.hypot(ky, kx) <= settings.beamstop_px
    if settings.dead_pixels >= ny * nx:
        raise ConfigError(f"{settings.dead_pixels} dead pixels", expected=f"fewer than the frame's {ny * nx}")
    where = generator(settings.seed, *_DEAD_STREAM).choice(ny * nx, settings.dead_pixels, replace=False)
    bad[1].flat[where] = True
    if bad.any(0).all():
        raise ConfigError(f"beamstop_px = {settings.beamstop_px:g}", expected=f"less than the frame of {ny} x {nx} px")
    return bad


def _box(size: tuple[int, ...], frame: tuple[int, int]) -> tuple[slice, slice]:
    """Where an object of this size lies in the DC-centred frame."""
    y, x = ((n - h) // 2 for n, h in zip(frame, size, strict=True))
    return slice(y, y + size[0]), slice(x, x + size[1])


def _support(size: tuple[int, int], frame: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The object's box, None where it is the half box that everyone assumes."""
    from napari_i2ipr.physics.support import half_box

    support = np.zeros(frame, dtype=bool)
    support[_box(size, frame)] = True
    return None if np.array_equal(support, half_box(frame).numpy()) else support
