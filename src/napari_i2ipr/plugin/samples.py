"""Sample data, simulated when they are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_i2ipr.plugin.layers import LayerData

ALPHA = 2.0
"""Noise level of the sample, in the units of the I2I-PR paper."""


def cell_pattern() -> list[LayerData]:
    """A noisy diffraction pattern of a simulated cell of 9 um, and the cell itself (hidden).

    Returns
    -------
    list of tuple
        The truth, hidden, and on top of it the pattern, 512 x 512 px, as soft X-rays of 1 nm would give it
        on a detector with pixels of 55 um at 1 m.
    """
    from napari_i2ipr.data import Geometry
    from napari_i2ipr.phantoms import cell
    from napari_i2ipr.plugin.layers import pattern_layers, truth_layer
    from napari_i2ipr.simulation import simulate

    image = cell()
    geometry = Geometry(wavelength_m=1e-9, distance_m=1.0, pixel_size_m=(55e-6, 55e-6))
    measurement = replace(simulate(image, alpha=ALPHA), geometry=geometry)
    return [truth_layer(image, measurement, "cell truth"), *pattern_layers(measurement, "cell pattern")]
