"""Sample data, simulated when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_i2ipr.plugin.layers import LayerData


def cell_pattern() -> list[LayerData]:
    """A noisy diffraction pattern of a simulated cell, and the cell itself (hidden)."""
    raise NotImplementedError
