"""A small pattern, quick presets and a window; skipped where napari is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr.config import PRESETS
from napari_i2ipr.data import Geometry, Measurement

if importlib.util.find_spec("napari") is None:
    collect_ignore_glob = ["test_*.py"]

GEOMETRY = Geometry(wavelength_m=1e-10, distance_m=1.0, pixel_size_m=(50e-6, 100e-6))
TINY = {"initialisation": {"n_starts": 3, "short": "HIO:5", "n_keep": 2, "long": "HIO:30 ER:5", "final": ""}}
ENDLESS = {"initialisation": {"n_starts": 3, "short": "HIO:5", "n_keep": 2, "long": "HIO:2000000", "final": ""}}


def pattern(shape: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Counts of a few blobs in the half box, about 1e5 photons."""
    rng = np.random.default_rng(5)
    field = np.zeros(shape, np.float32)
    ny, nx = shape[0] // 2, shape[1] // 2
    y, x = np.mgrid[:ny, :nx]
    blobs = [np.hypot(y - rng.uniform(0, ny), x - rng.uniform(0, nx)) < rng.uniform(2, 6) for _ in range(6)]
    field[ny // 2 : ny // 2 + ny, nx // 2 : nx // 2 + nx] = np.sum(blobs, axis=0)
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(field, norm="ortho"))) ** 2
    return rng.poisson(intensity / intensity.sum() * 1e5).astype(np.float32)


@pytest.fixture(autouse=True)
def own_preferences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Preferences of plugins are read from and written to an empty folder."""
    from napari import settings

    if not hasattr(settings, "get_plugin_settings"):  # napari before 0.9
        yield
        return
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "preferences" / "settings.yaml"))
    settings._clear_plugin_settings_cache()
    yield
    settings._clear_plugin_settings_cache()


@pytest.fixture
def measurement() -> Measurement:
    """A small pattern with a dead column, geometry and provenance."""
    bad = np.zeros((40, 48), bool)
    bad[:, 3] = True
    return Measurement(pattern(), bad_pixels=bad, geometry=GEOMETRY, provenance={"source": "test"})


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, make_weights: Callable[..., Path]) -> None:
    """The preset fast takes a blink, and the shipped weights are small ones that suit everything."""
    from napari_i2ipr.refine import weights

    path = make_weights()
    monkeypatch.setitem(PRESETS, "fast", TINY)
    monkeypatch.setattr(weights, "shipped", lambda: {weights.DEFAULT: path})


@pytest.fixture(autouse=True)
def no_speed_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Speeds of test runs do not outlive their test."""
    from napari_i2ipr.plugin import estimate

    monkeypatch.setattr(estimate, "speed_file", lambda: tmp_path / "cache" / "speed.json")


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset fast takes hours."""
    monkeypatch.setitem(PRESETS, "fast", ENDLESS)


@pytest.fixture
def no_job_left() -> Iterator[None]:
    """Every job has ended when the test does; comes before the viewer, so that it is closed first."""
    from qtpy.QtCore import QThreadPool
    from superqt.utils import FunctionWorker

    yield
    assert QThreadPool.globalInstance().waitForDone(60_000)
    FunctionWorker._worker_set.clear()


@pytest.fixture
def open_widget(
    no_job_left: None, make_napari_viewer_proxy: Callable[..., Any], measurement: Measurement
) -> Callable[..., tuple[Any, Any]]:
    """Open a viewer with the small pattern and the widget, as napari does it; (viewer, widget)."""

    def opened(what: Measurement = measurement) -> tuple[Any, Any]:
        from napari.layers import Layer

        from napari_i2ipr.plugin.layers import pattern_layers

        viewer = make_napari_viewer_proxy()
        for one in pattern_layers(what, "small"):
            viewer.add_layer(Layer.create(*one))
        _, widget = viewer.window.add_plugin_dock_widget("napari-i2ipr", "Reconstruct")
        widget.preset.value = "fast"
        return viewer, widget

    return opened
