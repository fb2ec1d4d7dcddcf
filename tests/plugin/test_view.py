"""The view is fitted to what came, whatever else is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_i2ipr.plugin.docked import look_at

SCALE = (0.5, 0.25)


@pytest.mark.parametrize("other", [(64, 64), (3, 64, 64)], ids=["flat", "stack"])
@pytest.mark.parametrize("shape", [(20, 16), (4, 20, 16)], ids=["image", "images"])
def test_fits(make_napari_viewer_proxy: Callable[..., Any], other: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """A layer that has fewer axes than the viewer, at which napari 0.9 cannot look, is seen as large as any other."""
    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.zeros(other))
    lead = (1,) * (len(shape) - 2)
    layer = viewer.add_image(np.zeros(shape), scale=(*lead, *SCALE), translate=(*(0 * one for one in lead), 7, 9))
    look_at(viewer, [layer])
    low, high = layer.extent.world[:, -2:]
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera
    canvas = viewer.canvas.size if hasattr(viewer, "canvas") else viewer._canvas_size
    np.testing.assert_allclose(camera.center[-2:], (low + high) / 2, atol=0.5)
    shares = camera.zoom * (high - low) / np.array(canvas)
    assert 0.4 < shares.max() < 1
