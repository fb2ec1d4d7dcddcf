"""Samples open through npe2 and can be reconstructed as they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManager
from pytestqt.qtbot import QtBot

from napari_i2ipr.plugin.layers import is_pattern, measurement_of, words_of
from napari_i2ipr.plugin.state import RunState

SECONDS = 3.0
"""Longest building of a sample, besides the first import of torch ..."""

MARGIN = 3
"""... on a machine that does nothing else; busy ones are given this many times as long."""

SHAPES = {"cell": (512, 512), "photo": (512, 512), "stack": (16, 256, 256), "beamstop": (512, 512)}


@pytest.mark.usefixtures("tiny")
def test_sample_to_result(qtbot: QtBot, no_job_left: None, make_napari_viewer_proxy: Callable[..., Any]) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("napari-i2ipr", "cell")
    pattern, truth = viewer.layers
    assert (pattern.name, truth.name) == ("cell pattern", "cell truth")
    assert (pattern.visible, truth.visible) == (True, False)
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


def test_samples_are_declared() -> None:
    samples = dict(PluginManager.instance().iter_sample_data())["napari-i2ipr"]
    assert [sample.key for sample in samples] == list(SHAPES)


@pytest.mark.parametrize("key", SHAPES)
def test_every_sample(key: str, make_napari_viewer_proxy: Callable[..., Any]) -> None:
    import torch  # noqa: F401  (its first import is not counted)

    viewer = make_napari_viewer_proxy()
    started = time.perf_counter()
    viewer.open_sample("napari-i2ipr", key)
    assert time.perf_counter() - started < MARGIN * SECONDS
    pattern, truth, *bad = viewer.layers
    assert pattern.data.shape == SHAPES[key]
    assert truth.data.shape == tuple(n if i < len(SHAPES[key]) - 2 else n // 2 for i, n in enumerate(SHAPES[key]))
    assert is_pattern(pattern)
    assert not is_pattern(truth)
    assert words_of(truth)["group"] == words_of(pattern)["group"]
    assert pattern.units == truth.units
    measurement = measurement_of(pattern)
    assert measurement.geometry.wavelength_m == 1e-9
    camera = getattr(viewer, "scene", viewer).camera
    zoom = camera.zoom  # the view is that of the pattern, not of the smaller truth
    viewer.reset_view()
    assert camera.zoom == pytest.approx(zoom, rel=1e-3)
    assert len(bad) == (key == "beamstop")
    if bad:
        assert bad[0].data[256, 256] == 1  # behind the beamstop
        assert 400 < np.asarray(bad[0].data).sum() < 450
        assert (np.asarray(pattern.data)[np.asarray(bad[0].data) != 0] == 0).all()


def test_stack_has_different_patterns(make_napari_viewer_proxy: Callable[..., Any]) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.open_sample("napari-i2ipr", "stack")
    frames = np.asarray(viewer.layers[0].data)
    assert viewer.layers[0].axis_labels == ("frame", "y", "x")
    assert len(np.unique(frames.reshape(16, -1), axis=0)) == 16
    assert np.abs(frames.sum((1, 2)).mean() / 1e8 - 1) < 0.01


def test_the_photo_needs_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    from napari_i2ipr.plugin.samples import photo_pattern

    assert photo_pattern()[1][0].shape == (256, 256)
