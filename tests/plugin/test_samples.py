"""Samples open through npe2 and can be reconstructed as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManager
from pytestqt.qtbot import QtBot

from napari_i2ipr.plugin.layers import measurement_of
from napari_i2ipr.plugin.state import RunState


@pytest.mark.usefixtures("tiny")
def test_sample_to_result(qtbot: QtBot, no_job_left: None, make_napari_viewer_proxy: Callable[..., Any]) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("napari-i2ipr", "cell")
    truth, pattern = viewer.layers
    assert (truth.name, pattern.name) == ("cell truth", "cell pattern")
    assert (truth.visible, pattern.visible) == (False, True)
    measurement = measurement_of(pattern)
    assert measurement.frame_shape == (512, 512)
    assert measurement.alpha is not None

    _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
    assert widget.pattern.value.name == "cell pattern"  # the truth is no pattern
    widget.preset.value = "fast"
    widget.run()
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    assert widget.runner.status.state is RunState.DONE, widget.panel.message.text()
    result = viewer.layers[-1]
    assert result.data.shape == truth.data.shape
    np.testing.assert_allclose(result.scale, truth.scale)
    np.testing.assert_allclose(result.translate, truth.translate)
    assert result.units == truth.units


def test_sample_is_declared() -> None:
    samples = dict(PluginManager.instance().iter_sample_data())["napari-i2ipr"]
    assert [sample.key for sample in samples] == ["cell"]
