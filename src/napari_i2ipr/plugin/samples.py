"""Sample data, simulated when they are asked for: nothing is downloaded, nothing is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_i2ipr.data import Geometry
    from napari_i2ipr.plugin.layers import LayerData

ALPHA = 2.0
"""Noise level of the cells, in the units of the I2I-PR paper."""

PHOTO_ALPHA = 3.0
"""Noise level of the photograph."""

PHOTONS = 1e8
"""Photons in a pattern of the samples that count."""

STACK = 16
"""Patterns in the stack."""

STACK_PX = 128
"""Side of each of its objects."""

BEAMSTOP_PX = 3
"""Radius of the beamstop: at twofold oversampling it hides 1.5 px of the spectrum about the centre."""

DEAD_PIXELS = 400
"""Dead pixels of that detector, 0.15 % of them."""


def cell_pattern() -> list[LayerData]:
    """A noisy diffraction pattern of a simulated cell of 9 um, and the cell itself (hidden).

    Returns
    -------
    list of tuple
        The pattern, 512 x 512 px, and on top of it the truth, hidden; as soft X-rays of 1 nm would give it
        on a detector with pixels of 55 um at 1 m.
    """
    from napari_i2ipr.phantoms import cell

    return _sample(cell(), "cell", alpha=ALPHA)


def photo_pattern() -> list[LayerData]:
    """A noisier pattern of a photograph, 512 x 512 px, and the photograph itself (hidden).

    The photograph is "camera" of scikit-image, which ships with it (CC0, by Lav Varshney), at half its
    size.

    Returns
    -------
    list of tuple
        The pattern, and on top of it the truth, hidden.
    """
    import numpy as np
    from skimage.data import camera
    from skimage.transform import downscale_local_mean

    image = np.round(downscale_local_mean(camera(), (2, 2))).astype(np.uint8)
    return _sample(image, "photo", alpha=PHOTO_ALPHA)


def stack_of_patterns() -> list[LayerData]:
    """A stack of 16 patterns of different simulated cells, 256 x 256 px each, and the cells (hidden).

    Returns
    -------
    list of tuple
        The stack of photon counts, and on top of it the truths, hidden.
    """
    import numpy as np

    from napari_i2ipr.phantoms import cell

    cells = np.stack([cell(STACK_PX, seed) for seed in range(STACK)])
    return _sample(cells, "cells", photons=PHOTONS, axes=("frame", "y", "x"))


def beamstop_pattern() -> list[LayerData]:
    """A pattern behind a beamstop on a detector with dead pixels, and the cell it shows (hidden).

    Returns
    -------
    list of tuple
        The photon counts, 512 x 512 px, the truth, hidden, and the bad pixels as labels.
    """
    from napari_i2ipr.phantoms import cell

    return _sample(cell(seed=1), "beamstop", photons=PHOTONS, beamstop_px=BEAMSTOP_PX, dead_pixels=DEAD_PIXELS)


def _geometry() -> Geometry:
    """Soft X-rays of 1 nm on a detector with pixels of 55 um at 1 m."""
    from napari_i2ipr.data import Geometry

    return Geometry(wavelength_m=1e-9, distance_m=1.0, pixel_size_m=(55e-6, 55e-6))


def _sample(image: Any, name: str, *, axes: tuple[str, ...] = (), **settings: Any) -> list[LayerData]:
    """The pattern of an image, twice oversampled, and the image."""
    from napari_i2ipr.plugin.known import known_layers
    from napari_i2ipr.simulation import simulate

    measurement = replace(simulate(image, **settings), geometry=_geometry(), axes=axes)
    return known_layers(image, measurement, name)
