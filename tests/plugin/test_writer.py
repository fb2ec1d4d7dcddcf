"""Saving through npe2 and opening again gives the same layers; what is not ours is refused in one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer
from pytestqt.qtbot import QtBot

from napari_i2ipr import io
from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.errors import OutputError
from napari_i2ipr.plugin.layers import KEY, measurement_of, pattern_layers, result_layers, words_of
from napari_i2ipr.plugin.reader import read_layers

Viewer = Callable[..., Any]
STATE = ("name", "visible", "gamma", "opacity", "contrast_limits", "axis_labels", "units")


@pytest.fixture(params=["real", "complex", "stack"])
def result(request: pytest.FixtureRequest, measurement: Measurement) -> Reconstruction:
    rng = np.random.default_rng(2)
    lead = (3,) if request.param == "stack" else ()
    image = rng.random((*lead, 20, 24)).astype(np.float32)
    if request.param == "complex":
        image = (image * np.exp(2j * np.pi * rng.random((20, 24)))).astype(np.complex64)
    return Reconstruction(
        image=image,
        uncertainty=rng.random(image.shape).astype(np.float32),
        classical=None if request.param == "complex" else image.real * 0.5,
        candidate_images=rng.random((*lead, 5, 20, 24)).astype(np.float32) if request.param == "stack" else None,
        box=(10, 12, 20, 24),
        frame_shape=(40, 48),
        scores={"r_factor": 0.1},
        geometry=measurement.geometry,
        axes=("t", "y", "x") if lead else ("y", "x"),
        provenance={"config": {"seed": 3}},
    )


def shown(viewer: Any, data: list[Any]) -> list[Layer]:
    return [viewer.add_layer(Layer.create(*one)) for one in data]


def same(layer: Layer, again: Layer) -> None:
    np.testing.assert_array_equal(layer.data, again.data)
    for name in STATE:
        assert getattr(layer, name) == getattr(again, name), name
    assert layer.colormap.name == again.colormap.name
    np.testing.assert_allclose(layer.scale, again.scale)
    np.testing.assert_allclose(layer.translate, again.translate)


@pytest.mark.parametrize("ending", [".zarr", ".cxi"])
def test_result_round_trip(
    tmp_path: Path, result: Reconstruction, ending: str, make_napari_viewer_proxy: Viewer
) -> None:
    viewer = make_napari_viewer_proxy()
    before = shown(viewer, result_layers(result, "my pattern", 4))
    before[-1].name, before[-1].colormap, before[-1].contrast_limits = "the best", "viridis", (0.25, 0.5)
    viewer.layers.selection = set(before)
    assert viewer.layers.save(str(tmp_path / f"out{ending}"), selected=True) == [str(tmp_path / f"out{ending}")]
    viewer.layers.clear()
    viewer.open(tmp_path / f"out{ending}", plugin="napari-i2ipr")
    assert len(viewer.layers) == len(before)
    for layer, again in zip(before, viewer.layers, strict=True):
        same(layer, again)
    words, old = words_of(viewer.layers[-1]), words_of(before[-1])
    for key in ("kind", "run", "source", "scores", "status", "uncertainty_kind"):
        assert words[key] == old[key]
    assert words["provenance"]["config"] == {"seed": 3}


def test_one_layer_stands_for_all(tmp_path: Path, result: Reconstruction, make_napari_viewer_proxy: Viewer) -> None:
    viewer = make_napari_viewer_proxy()
    layers = shown(viewer, result_layers(result, "p", 1))
    viewer.layers.selection = {layers[-1]}
    viewer.layers.save(str(tmp_path / "out.zarr"), selected=True)
    viewer.layers.save(str(tmp_path / "out.zarr"), selected=True)  # an output of ours is replaced
    again = io.read_result(tmp_path / "out.zarr")
    np.testing.assert_array_equal(again.image, result.image)
    np.testing.assert_array_equal(again.uncertainty, result.uncertainty)


def test_tiff(tmp_path: Path, result: Reconstruction, make_napari_viewer_proxy: Viewer) -> None:
    """The layers of a run become pages with the metadata; a single layer is left to napari's own writer."""
    import tifffile

    viewer = make_napari_viewer_proxy()
    layers = shown(viewer, result_layers(result, "p", 1))
    viewer.layers.selection = set(layers)
    assert viewer.layers.save(str(tmp_path / "out.tif"), selected=True)
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        words = tif.shaped_metadata[0][KEY]
        assert words["pages"][-1] == "uncertainty"
        np.testing.assert_array_equal(tif.asarray()[-1].squeeze(), result.uncertainty)
    viewer.layers.selection = {layers[-1]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of napari's writer, with tifffile 2026.3
        viewer.layers.save(str(tmp_path / "one.tif"), selected=True)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "one.tif"), layers[-1].data)


@pytest.mark.parametrize("ending", [".zarr", ".cxi"])
@pytest.mark.parametrize("stack", [False, True])
def test_pattern_round_trip(
    tmp_path: Path, measurement: Measurement, ending: str, stack: bool, make_napari_viewer_proxy: Viewer
) -> None:
    if stack:
        measurement = replace(measurement, intensity=np.stack([measurement.intensity] * 3), axes=("t", "y", "x"))
    measurement = replace(measurement, intensity_scale=0.5, alpha=2.0, support=np.ones((40, 48), bool))
    viewer = make_napari_viewer_proxy()
    pattern, mask = shown(viewer, pattern_layers(measurement, "pattern"))
    painted = np.array(mask.data)
    painted[10:14] = 3  # what was painted counts, not what came with the file
    mask.data = painted
    viewer.layers.save(str(tmp_path / f"pattern{ending}"))
    again = io.read(tmp_path / f"pattern{ending}")
    np.testing.assert_array_equal(np.asarray(again.intensity), measurement.intensity)
    np.testing.assert_array_equal(np.asarray(again.bad_pixels), painted != 0)
    assert (again.intensity_scale, again.alpha, again.geometry) == (0.5, 2.0, measurement.geometry)
    assert again.support is not None
    viewer.layers.clear()
    viewer.open(tmp_path / f"pattern{ending}", plugin="napari-i2ipr")
    same(pattern, viewer.layers[0])
    np.testing.assert_array_equal(viewer.layers[1].data, painted != 0)


def test_a_pattern_alone_keeps_the_mask_it_came_with(
    tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Viewer
) -> None:
    viewer = make_napari_viewer_proxy()
    pattern, _ = shown(viewer, pattern_layers(measurement, "pattern"))
    viewer.layers.selection = {pattern}
    viewer.layers.save(str(tmp_path / "alone.cxi"), selected=True)
    np.testing.assert_array_equal(io.read(tmp_path / "alone.cxi").bad_pixels, measurement.bad_pixels)


def refused(viewer: Any, path: Path, word: str) -> None:
    """Saving everything fails with one sentence, and leaves nothing behind."""
    with pytest.raises(OutputError, match=word) as error:
        viewer.layers.save(str(path), plugin="napari-i2ipr")
    assert "\n" not in str(error.value)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("result", ["real"], indirect=True)
def test_foreign_layers(
    tmp_path: Path, measurement: Measurement, result: Reconstruction, make_napari_viewer_proxy: Viewer
) -> None:
    viewer = make_napari_viewer_proxy()
    viewer.add_layer(Image(np.ones((40, 48)), name="a photograph"))
    refused(viewer, tmp_path / "x.cxi", "'a photograph'")
    shown(viewer, pattern_layers(measurement, "pattern"))
    refused(viewer, tmp_path / "x.cxi", "did not make")
    viewer.layers.pop(0)
    viewer.add_layer(Labels(np.ones((40, 48), np.uint8)))
    refused(viewer, tmp_path / "x.cxi", r"1 pattern\(s\) and 2 Labels")
    shown(viewer, result_layers(result, "p", 1))
    refused(viewer, tmp_path / "x.zarr", "not of one reconstruction")
    viewer.layers.clear()
    shown(viewer, result_layers(result, "p", 1))
    shown(viewer, result_layers(replace(result, scores={}), "p", 2))
    refused(viewer, tmp_path / "x.zarr", "single run")
    viewer.layers.clear()
    shown(viewer, result_layers(result, "p", 1))[-1].data = np.zeros_like(result.image, np.float32)
    refused(viewer, tmp_path / "x.zarr", "changed after the run")


def test_bad_places(tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Viewer) -> None:
    viewer = make_napari_viewer_proxy()
    shown(viewer, pattern_layers(measurement, "pattern"))
    with pytest.raises(OutputError, match="no directory"):
        viewer.layers.save(str(tmp_path / "no" / "x.cxi"))
    (tmp_path / "theirs.cxi").write_text("something else")
    with pytest.raises(OutputError, match="did not write"):
        viewer.layers.save(str(tmp_path / "theirs.cxi"))
    assert (tmp_path / "theirs.cxi").read_text() == "something else"
    with pytest.raises(OutputError, match=r"ends in \.cxi"):
        viewer.layers.save(str(tmp_path / "x.tif"))


@pytest.mark.usefixtures("tiny")
def test_after_a_real_run(tmp_path: Path, qtbot: QtBot, open_widget: Callable[..., tuple[Any, Any]]) -> None:
    viewer, widget = open_widget()
    widget.run()
    qtbot.waitUntil(lambda: widget.runner._job is None, timeout=120_000)
    result = [layer for layer in viewer.layers if "result" in words_of(layer)]
    viewer.layers.selection = set(result)
    viewer.layers.save(str(tmp_path / "run.zarr"), selected=True)
    again = read_layers(str(tmp_path / "run.zarr"))
    assert [meta["name"] for _, meta, _ in again] == [layer.name for layer in result]
    for (data, meta, _), layer in zip(again, result, strict=True):
        np.testing.assert_array_equal(data, layer.data)
        assert meta["visible"] == layer.visible
    assert measurement_of(viewer.layers[0]).frame_shape == (40, 48)
