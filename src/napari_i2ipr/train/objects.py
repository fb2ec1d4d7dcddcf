"""Objects to train on: crops of pictures, objects alone on dark ground, and dead leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.train.images import Picture

    Pixels = NDArray[np.uint8]

KINDS = ("picture", "isolated", "leaves")
"""What an object may be."""


def draw(rng: np.random.Generator, pictures: Sequence[Picture], size: int, shares: Sequence[float]) -> Pixels:
    """A random object ``(size, size)``, uint8, of a kind drawn by its share.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything.
    pictures : sequence of Picture
        To crop from.
    size : int
        Side in pixels.
    shares : sequence of float
        Probability of each of `KINDS`; they sum to 1.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=shares))]
    if kind == "leaves":
        return leaves(rng, size)
    image = crop(rng, pictures[int(rng.integers(len(pictures)))].pixels, size)
    image = image if kind == "picture" else isolated(rng, image)
    return image if np.ptp(image) > 8 else leaves(rng, size)  # a blank crop teaches nothing


def crop(rng: np.random.Generator, image: Pixels, size: int) -> Pixels:
    """A random square of the image, shrunk from up to the whole short side, turned and mirrored."""
    from PIL import Image

    short = min(image.shape)
    side = size if rng.random() < 0.4 else int(rng.integers(size, short + 1))
    y, x = (int(rng.integers(n - side + 1)) for n in image.shape)
    part = image[y : y + side, x : x + side]
    if side != size:
        part = np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(dihedral(part, int(rng.integers(8))))


def centre(image: Pixels, size: int) -> Pixels:
    """The square in the middle of an image that is large enough."""
    y, x = ((n - size) // 2 for n in image.shape)
    return np.ascontiguousarray(image[y : y + size, x : x + size])


def dihedral(image: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """One of the eight views of a square by quarter turns and a mirror."""
    turned = np.rot90(image, view % 4, axes=(-2, -1))
    return turned[..., ::-1] if view >= 4 else turned


def isolated(rng: np.random.Generator, image: Pixels) -> Pixels:
    """The image behind a random soft-edged outline on dark ground, as single particles are seen."""
    size = image.shape[0]
    grid = np.linspace(-1, 1, size)
    outline = np.zeros((size, size), bool)
    for _ in range(int(rng.integers(1, 4))):
        angle, (cy, cx) = rng.uniform(0, np.pi), rng.uniform(-0.35, 0.35, 2)
        a, b = rng.uniform(0.2, 0.65, 2)
        y, x = grid[:, None] - cy, grid[None] - cx
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        outline |= (u / a) ** 2 + (v / b) ** 2 < 1
    rough = ndimage.gaussian_filter(rng.standard_normal((size, size)), size / 24)
    outline &= rough > -1.5 * rough.std()
    soft = ndimage.gaussian_filter(outline.astype(float), rng.uniform(0.5, 1.5))
    return np.asarray(np.rint(soft * np.maximum(image.astype(float), 24)), np.uint8)


def leaves(rng: np.random.Generator, size: int) -> Pixels:
    """Dead leaves: discs and boxes of all sizes over each other, each with a texture of its own.

    Sizes follow a power law with exponent 3 (Lee, Mumford & Huang 2001), which gives the statistics
    of photographs.
    """
    image = np.full((size, size), rng.uniform(20, 235))
    grid = np.arange(size)
    texture = _texture(rng, size)
    for _ in range(int(rng.integers(40, 250))):
        low, high = 1.5, size / 2.5
        radius = (low**-2 + rng.random() * (high**-2 - low**-2)) ** -0.5
        cy, cx = rng.uniform(-radius, size + radius, 2)
        y, x = grid[:, None] - cy, grid[None] - cx
        if rng.random() < 0.6:
            shape = y**2 + x**2 < radius**2
        else:
            angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.3, 1)
            u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
            shape = (np.abs(u) < radius) & (np.abs(v) < ratio * radius)
        shade = rng.uniform(0, 255) + rng.uniform(0, 30) * np.roll(texture, tuple(rng.integers(0, size, 2)), (0, 1))
        image = np.where(shape, shade, image)
    image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0))
    return np.asarray(np.rint(image.clip(0, 255)), np.uint8)


def _texture(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Unit-variance noise of a random colour, sometimes with stripes."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1.0 / size
    spectrum = np.fft.fft2(rng.standard_normal((size, size))) * frequency ** -rng.uniform(0, 1.5)
    texture = np.asarray(np.fft.ifft2(spectrum).real)
    if rng.random() < 0.3:
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 16)
        grid = np.arange(size)
        phase = 2 * np.pi / period * (np.cos(angle) * grid[:, None] + np.sin(angle) * grid[None])
        texture = texture / texture.std() + 2 * np.sin(phase)
    return np.asarray((texture - texture.mean()) / texture.std())
