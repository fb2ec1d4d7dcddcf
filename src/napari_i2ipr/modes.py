"""What the kept solutions have in common, and complex results in a form of their own: modes, phase, circular spread.

The modulus of a spectrum leaves an object's global phase open, and a pattern whose centre is off by a fraction of a
pixel gives it a phase ramp. Neither is wrong; `canonical` takes both out, for figures and comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.data import Reconstruction


@dataclass(frozen=True)
class Modes:
    """Orthogonal modes of aligned solutions, strongest first.

    Attributes
    ----------
    images : ndarray
        ``(K, h, w)``: mode m times its root-mean-square amplitude over the solutions.
    shares : ndarray
        Share of the solutions' energy in each mode, ``(K,)``, sums to 1. The first one is 1 when all solutions are
        equal up to a factor, and about 1/K when they have nothing in common.
    """

    images: NDArray[Any]
    shares: NDArray[np.float64]


def modes(images: NDArray[Any], weights: Sequence[float] | None = None) -> Modes:
    """Singular-value decomposition of aligned solutions.

    Parameters
    ----------
    images : ndarray
        ``(K, h, w)``, real or complex, aligned, e.g. `Reconstruction.candidate_images`.
    weights : sequence of float, optional
        Weight of each, >= 0; equal by default. Those of weight 0 have no part in it.

    Raises
    ------
    InputError
        When there is nothing to decompose.
    """
    given = np.ones(len(images)) if weights is None else np.asarray(weights, np.float64)
    if images.ndim != 3 or given.shape != (len(images),) or not (given >= 0).all() or not given.any():
        raise InputError(
            f"images of shape {images.shape} with {given.size} weights",
            expected="(K, h, w) and K weights that are not all 0",
        )
    used = images[given > 0]
    root = np.sqrt(given[given > 0] / given.sum())
    flat = root[:, None] * used.reshape(len(used), -1)
    overlap = (flat.conj() @ flat.T).astype(np.complex128 if np.iscomplexobj(flat) else np.float64)
    power, vectors = np.linalg.eigh(overlap.conj())
    order = np.argsort(power)[::-1]
    power, vectors = power[order].clip(0), vectors[:, order]
    found = (vectors.conj().T @ flat).reshape(used.shape)
    total = power.sum()
    shares = power / total if total > 0 else np.full(len(power), np.nan)
    return Modes(_towards(found, used).astype(images.dtype), shares)


def _towards(found: NDArray[Any], used: NDArray[Any]) -> NDArray[Any]:
    """Modes with the sign or global phase of the mean of the solutions, where they have any of it."""
    inner = (found.conj() * used.mean(0)).sum((-2, -1))
    turn = np.where(np.abs(inner) > 0, inner / np.maximum(np.abs(inner), 1e-300), 1)
    return found * turn[:, None, None]


@dataclass(frozen=True)
class Canonical:
    """A complex image with nothing in its phase that the pattern leaves open.

    Attributes
    ----------
    image : ndarray
        ``(h, w)``, its phase ramp taken out, turned so that the sum of ``|x| x`` is real and positive.
    ramp : tuple of float
        What was taken out, rad per pixel along ``(y, x)``; ``N / 2 pi`` times it is how far the pattern's centre was
        from where the ramp is none, in pixels.
    global_phase : float
        What was taken out after that, rad.
    """

    image: NDArray[Any]
    ramp: tuple[float, ...]
    global_phase: float


def canonical(image: NDArray[Any], *, ramp: bool = True) -> Canonical:
    """Take the phase ramp and the global phase out of a complex image.

    The ramp along an axis is the phase of ``sum conj(x[r]) x[r + 1]``, the mean step from pixel to pixel weighted by
    the squared modulus.

    Parameters
    ----------
    image : ndarray
        ``(h, w)``, complex (any number of axes).
    ramp : bool
        Take out the ramp too. The pattern of the image moves by a fraction of a pixel then, so no longer compare it
        with the data.

    Raises
    ------
    InputError
        When the image is real.
    """
    if not np.iscomplexobj(image):
        raise InputError("a real image", expected="a complex one", do="a real image has no phase to take out")
    steps = tuple(_step(image, axis) if ramp else 0.0 for axis in range(image.ndim))
    grid = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in image.shape), indexing="ij")
    slope = sum(step * axis for step, axis in zip(steps, grid, strict=True))
    level = image * np.exp(-1j * slope)
    phase = float(np.angle((np.abs(level) * level).sum()))
    return Canonical((level * np.exp(-1j * phase)).astype(image.dtype), steps, phase)


def _step(image: NDArray[Any], axis: int) -> float:
    ahead, behind = np.moveaxis(image, axis, 0)[1:], np.moveaxis(image, axis, 0)[:-1]
    return float(np.angle((behind.conj() * ahead).sum()))


@dataclass(frozen=True)
class Spread:
    """Amplitude and phase of complex solutions with an uncertainty each.

    Attributes
    ----------
    amplitude, phase : ndarray
        Of the weighted mean, ``(h, w)``; the phase in rad.
    amplitude_deviation : ndarray
        Standard deviation of the amplitudes.
    phase_deviation : ndarray
        Circular standard deviation ``sqrt(-2 ln R)`` in rad, R the length of the mean of ``x / |x|``: that of the
        phases where they agree, without limit where they have nothing in common (capped at pi).
    """

    amplitude: NDArray[np.float32]
    phase: NDArray[np.float32]
    amplitude_deviation: NDArray[np.float32]
    phase_deviation: NDArray[np.float32]


def spread(images: NDArray[Any], weights: Sequence[float] | None = None) -> Spread:
    """Amplitude and phase of aligned complex solutions, and how far they differ.

    Parameters
    ----------
    images : ndarray
        ``(K, h, w)``, complex, aligned in orientation, place and global phase.
    weights : sequence of float, optional
        Weight of each; equal by default.
    """
    given = np.ones(len(images)) if weights is None else np.asarray(weights, np.float64)
    share = (given / given.sum()).reshape(-1, *(1 for _ in images.shape[1:]))
    mean = (share * images).sum(0)
    modulus = np.abs(images)
    average = (share * modulus).sum(0)
    deviation = np.sqrt((share * (modulus - average) ** 2).sum(0))
    unit = np.divide(images, modulus, out=np.zeros_like(images), where=modulus > 0)
    length = np.abs((share * unit).sum(0)).clip(1e-30, 1)
    circular = np.sqrt(-2 * np.log(length)).clip(0, np.pi)
    return Spread(*(part.astype(np.float32) for part in (np.abs(mean), np.angle(mean), deviation, circular)))


def of_result(result: Reconstruction) -> tuple[Modes, Spread | None]:
    """Modes of the candidates that were averaged, and the spread of complex ones, of a result of one pattern.

    Raises
    ------
    InputError
        When the candidate images were not kept, or it is a stack.
    """
    images = result.candidate_images
    if images is None or images.ndim != 3:
        raise InputError(
            "a result without candidate images" if images is None else "the result of a stack",
            expected="one pattern with its candidates",
            do="reconstruct with keep_candidates: true, or take one item of the stack",
        )
    weights = [row.weight for row in result.candidates]
    return modes(images, weights), spread(images, weights) if np.iscomplexobj(images) else None
