"""Sample images built from code: a simulated cell, and a scene with the statistics of photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_i2ipr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float64]

MIN_SIDE_PX = 16
"""Smallest side of a sample image."""

_PX = 2 / 256
"""A pixel of a 256-pixel image; the images span -1 ... 1, and all lengths scale with them."""


def cell(n: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    """Simulate stained cells in a layer, as a microscope would show them.

    A large cell among its neighbours: textured cytoplasm with filaments and vesicles, nuclei with
    nucleoli, bright membranes, and gaps that are nowhere zero. The layer fills the frame and has no
    symmetry, so that its place and orientation can be told.

    Parameters
    ----------
    n : int
        Side in pixels, at least 16.
    seed : int
        Another seed, other cells.

    Returns
    -------
    ndarray
        ``(n, n)``, uint8.
    """
    rng, y, x = _start(n, seed)
    owner, depth, centres = _layer(rng, y, x)
    texture = 8 * _noise(rng, n, 0.6) + 9 * _noise(rng, n, 1.5)
    levels = rng.permutation(np.linspace(34, 118, len(centres)))
    levels[0] = 96.0
    image = levels[owner] * (0.8 + 0.5 * np.sqrt(np.clip(depth, 0, 1))) + texture
    image += 50 * _filaments(rng, n, depth) * (owner % 2 == 0)
    cores = [
        np.minimum(_depth(rng, y - cy, x - cx, radius), np.where(owner == i, depth - 9 * _PX, -1))
        for i, (cy, cx, radius) in enumerate(_nuclei(rng, centres))
    ]
    image = _with_vesicles(rng, image, y, x, (depth > 4 * _PX) & (np.max(cores, axis=0) < -4 * _PX))
    for core in cores:
        image = _with_nucleus(rng, image, y, x, core)
    image += 90 * np.exp(-(((depth - 4 * _PX) / (1.5 * _PX)) ** 2))
    gap = 1 / (1 + np.exp(np.clip((depth - 1.5 * _PX) / (0.7 * _PX), -50, 50)))
    return _finished(image + gap * (22 + 0.3 * texture - image))


def scene(n: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    """Draw dead leaves: shapes of all sizes that hide one another, as objects in a photograph do.

    Sizes follow an inverse cube law, which gives the 1/f amplitudes of natural images (Lee, Mumford &
    Huang 2001).

    Parameters
    ----------
    n : int
        Side in pixels, at least 16.
    seed : int
        Another seed, another scene.

    Returns
    -------
    ndarray
        ``(n, n)``, uint8.
    """
    rng, y, x = _start(n, seed)
    textures = [_noise(rng, n, slope) for slope in (0.7, 1.0, 1.4)]
    image = 110 + 20 * textures[2]
    smallest, largest = 4 * _PX, 0.9
    for _ in range(450):
        radius = float(1 / np.sqrt(rng.uniform(largest**-2, smallest**-2)))
        cy, cx = rng.uniform(-1.1, 1.1, 2)
        turn, flatness = rng.uniform(0, np.pi), rng.uniform(0.4, 1)
        level, slope, grain, kind = rng.uniform(15, 235), rng.uniform(-40, 40), rng.uniform(0, 16), rng.random()
        near = _window(n, cy, cx, 1.2 * radius)
        dy, dx = y[near[0]] - cy, x[:, near[1]] - cx
        u = (dx * np.cos(turn) + dy * np.sin(turn)) / radius
        v = (dy * np.cos(turn) - dx * np.sin(turn)) / (radius * flatness)
        leaf = u**2 + v**2 < 1 if kind < 0.6 else np.maximum(abs(u), abs(v)) < 0.8
        texture = grain * textures[int(rng.integers(3))][near]
        image[near] = np.where(leaf, level + slope * (u + v) + texture, image[near])
    return _finished(image)


def _start(n: int, seed: int) -> tuple[np.random.Generator, Field, Field]:
    """Random numbers and coordinates -1 ... 1."""
    if n < MIN_SIDE_PX:
        raise InputError(f"an image of {n} px", expected=f"at least {MIN_SIDE_PX} px a side")
    axis = (np.arange(n) + 0.5) * 2 / n - 1
    return np.random.default_rng(seed), axis[:, None], axis[None, :]


def _window(n: int, cy: float, cx: float, reach: float) -> tuple[slice, slice]:
    """Pixels within `reach` of a point."""
    low_y, low_x = (max(int((c - reach + 1) * n / 2), 0) for c in (cy, cx))
    high_y, high_x = (max(int((c + reach + 1) * n / 2) + 2, 0) for c in (cy, cx))
    return slice(low_y, high_y), slice(low_x, high_x)


def _finished(image: Field) -> NDArray[np.uint8]:
    """Seen through a lens, in 8 bits."""
    blurred = ndimage.gaussian_filter(image, 0.6 * len(image) * _PX / 2)
    return np.asarray(np.clip(np.round(blurred), 1, 255), dtype=np.uint8)


def _noise(rng: np.random.Generator, n: int, slope: float) -> Field:
    """A random field of unit variance whose amplitudes fall as 1 / f^slope."""
    ky, kx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]
    fall = np.hypot(ky, kx)
    fall[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n))) / fall**slope, s=(n, n))
    return np.asarray(field / field.std())


def _depth(rng: np.random.Generator, y: Field, x: Field, radius: float) -> Field:
    """How far inside an irregular outline a point lies, negative outside."""
    angle, reach = np.arctan2(y, x), np.full(np.broadcast_shapes(y.shape, x.shape), radius)
    for order in range(1, 7):
        reach += radius * rng.uniform(0.3, 1) * 0.16 / order * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(reach - np.hypot(y, x))


def _layer(rng: np.random.Generator, y: Field, x: Field) -> tuple[NDArray[np.intp], Field, Field]:
    """Which cell a point belongs to, how far inside it lies, and the cells' centres; the first is the large one."""
    n = len(y)
    centres = np.array([[-0.12, -0.2], [-1.0, 0.75], [0.45, 0.85], [0.95, 0.1], [0.75, -0.95], [-0.95, -0.75]])
    centres = centres + rng.uniform(-0.12, 0.12, centres.shape)
    y = y + 0.05 * _noise(rng, n, 2.4)
    x = x + 0.05 * _noise(rng, n, 2.4)
    reach = np.array([0.0, *rng.uniform(0.1, 0.25, len(centres) - 1)])
    away = np.stack([np.hypot(y - cy, x - cx) + r for (cy, cx), r in zip(centres, reach, strict=True)])
    order = np.sort(away, axis=0)
    return away.argmin(0), np.asarray((order[1] - order[0]) / 2), centres


def _nuclei(rng: np.random.Generator, centres: Field) -> list[tuple[float, float, float]]:
    """Places and radii of the nuclei, a little towards the middle of the frame."""
    moved = centres * rng.uniform(0.68, 0.85, (len(centres), 1))
    radii = (0.25, *rng.uniform(0.14, 0.19, len(centres) - 1))
    return [(float(cy), float(cx), float(r)) for (cy, cx), r in zip(moved, radii, strict=True)]


def _filaments(rng: np.random.Generator, n: int, depth: Field) -> Field:
    """Thin bent lines: where smooth random fields pass through zero."""
    lines = np.zeros((n, n))
    for _ in range(5):
        field = _noise(rng, n, 2.6)
        slope = np.hypot(*np.gradient(field)) * n * _PX / 2 + 1e-9
        lines = np.maximum(lines, rng.uniform(0.5, 1) * np.exp(-((field / slope / 0.9) ** 2)))
    return np.asarray(lines * np.clip(depth / (10 * _PX), 0, 1))


def _with_vesicles(rng: np.random.Generator, image: Field, y: Field, x: Field, where: NDArray[np.bool_]) -> Field:
    """Bright granules, dark vacuoles and a few rings."""
    places = np.argwhere(where)
    if not len(places):
        return image
    image = image.copy()
    for _ in range(70):
        cy, cx = places[int(rng.integers(len(places)))] * 2 / len(image) - 1
        radius, kind = rng.uniform(1.5, 5.5) * _PX, rng.random()
        near = _window(len(image), cy, cx, 2.5 * radius)
        r = np.hypot(y[near[0]] - cy, x[:, near[1]] - cx) / radius
        body = np.exp(-((r - 0.8) ** 2) * 8) if kind > 0.8 else 1 / (1 + np.exp(8 * (r - 1)))
        image[near] += (rng.uniform(50, 100) if kind > 0.35 else -rng.uniform(30, 60)) * body
    return image


def _with_nucleus(rng: np.random.Generator, image: Field, y: Field, x: Field, core: Field) -> Field:
    """Bright chromatin with a rim, and nucleoli in it."""
    if core.max() <= 0:
        return image
    n = len(image)
    chromatin = rng.uniform(120, 175) + 16 * _noise(rng, n, 1.0) + 45 * np.exp(-((core / (2.5 * _PX)) ** 2))
    places = np.argwhere(core > 0.45 * core.max()) * 2 / n - 1
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = places[int(rng.integers(len(places)))]
        inside = np.clip(_depth(rng, y - cy, x - cx, rng.uniform(0.1, 0.26) * core.max()) / (2 * _PX) + 0.5, 0, 1)
        chromatin = chromatin + inside * (236 - chromatin)
    return np.where(core > 0, chromatin, image)
