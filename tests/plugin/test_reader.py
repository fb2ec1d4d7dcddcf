"""The reader: refuses what is foreign at once, and reads what is ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_i2ipr import io
from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.plugin.layers import words_of
from napari_i2ipr.plugin.reader import get_reader

h5py = pytest.importorskip("h5py")


@pytest.fixture
def result(measurement: Measurement) -> Reconstruction:
    rng = np.random.default_rng(2)
    return Reconstruction(
        image=rng.random((20, 24)).astype(np.float32),
        uncertainty=rng.random((20, 24)).astype(np.float32),
        box=(10, 12, 20, 24),
        frame_shape=(40, 48),
        scores={"r_factor": 0.1},
        geometry=measurement.geometry,
        provenance={"config": {"seed": 3}},
    )


def test_foreign_files(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing for us")
    fake = tmp_path / "fake.cxi"
    fake.write_text("not HDF5")
    started = time.perf_counter()
    for path in (text, fake, tmp_path / "missing.h5", tmp_path):
        assert get_reader(str(path)) is None
    assert time.perf_counter() - started < 1


def test_lists_are_refused(tmp_path: Path) -> None:
    assert get_reader([str(tmp_path / "a.cxi"), str(tmp_path / "b.cxi")]) is None


def test_pattern(tmp_path: Path, measurement: Measurement) -> None:
    path = str(io.write(measurement, tmp_path / "pattern.cxi"))
    for given in (path, [path]):
        (data, meta, kind), (mask, _, mask_kind) = get_reader(given)(given)
        assert (kind, mask_kind) == ("image", "labels")
        np.testing.assert_array_equal(data, measurement.intensity)
        np.testing.assert_array_equal(mask, measurement.bad_pixels)
        assert meta["name"] == "pattern"
        assert meta["metadata"]["napari_i2ipr"]["geometry"]["distance_m"] == 1.0


def test_stack_stays_in_its_file(tmp_path: Path, measurement: Measurement) -> None:
    frames = np.stack([measurement.intensity] * 4)
    path = str(io.write(replace(measurement, intensity=frames, axes=("t", "y", "x")), tmp_path / "stack.cxi"))
    data, meta, _ = get_reader(path)(path)[0]
    assert not isinstance(data, np.ndarray)
    assert data.shape == (4, 40, 48)
    assert meta["axis_labels"] == ("t", "y", "x")


@pytest.mark.parametrize("name", ["result.cxi", "result.zarr"])
def test_result(tmp_path: Path, result: Reconstruction, name: str) -> None:
    path = str(io.write(result, tmp_path / name))
    uncertainty, image = get_reader(path)(path)
    np.testing.assert_array_equal(uncertainty[0], result.uncertainty)
    np.testing.assert_array_equal(image[0], result.image)
    assert image[1]["name"] == "reconstruction (result)"
    assert image[1]["metadata"]["napari_i2ipr"]["provenance"]["config"] == {"seed": 3}


def test_opened_by_napari(
    tmp_path: Path, measurement: Measurement, make_napari_viewer_proxy: Callable[..., Any]
) -> None:
    path = io.write(measurement, tmp_path / "pattern.cxi")
    viewer = make_napari_viewer_proxy()
    viewer.open(path, plugin="napari-i2ipr")
    assert [layer.name for layer in viewer.layers] == ["pattern", "bad pixels (pattern)"]
    np.testing.assert_array_equal(viewer.layers[0].data, measurement.intensity)
    assert words_of(viewer.layers[0])["provenance"]["source"] == str(path)
