"""A simulated pattern together with the object it was simulated from, as layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_i2ipr.plugin.layers import KEY, pattern_layers, truth_layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement
    from napari_i2ipr.plugin.layers import LayerData


def known_layers(truth: NDArray[Any], measurement: Measurement, name: str) -> list[LayerData]:
    """A pattern, the truth as a hidden layer, and bad pixels.

    The pattern comes first because napari fits its view to the first layer there is. Nothing of the truth
    is in the pattern's layer. The other way round the truth names the pattern it belongs to: both have the
    same ``group`` in their metadata, for whoever compares a result with it.

    Parameters
    ----------
    truth : ndarray
        The object, real, ``(..., y, x)``.
    measurement : Measurement
        Simulated from it.
    name : str
        Name for the layers.
    """
    pattern, *bad = pattern_layers(measurement, f"{name} pattern")
    known = truth_layer(truth, measurement, f"{name} truth")
    known[1]["metadata"][KEY]["group"] = pattern[1]["metadata"][KEY]["group"]
    return [pattern, known, *bad]
