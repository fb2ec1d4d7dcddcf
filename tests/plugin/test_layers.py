"""Measurements and reconstructions as layers, and layers as measurements."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Layer

from napari_i2ipr.data import Geometry, Measurement, Reconstruction
from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin.layers import (
    GAMMA,
    KEY,
    LazyLabels,
    ObjectGrid,
    in_memory,
    is_pattern,
    limits,
    log_colormap,
    measurement_of,
    next_run,
    pattern_layers,
    result_layers,
    shown_range,
    words_of,
)


class Untouchable:
    """Lazy data that only tell what they are; reading more than one frame of it fails."""

    dtype = np.dtype(np.float32)
    shape = (5, 40, 48)
    ndim = 3
    size = 5 * 40 * 48

    def __getitem__(self, index: Any) -> np.ndarray:
        frame = np.ones(self.shape, np.float32)[index]
        assert frame.size <= 40 * 48, "the whole stack was read"
        return frame

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise AssertionError("the whole stack was read")


@pytest.fixture
def result() -> Reconstruction:
    rng = np.random.default_rng(1)
    return Reconstruction(
        image=rng.random((20, 24)).astype(np.float32),
        uncertainty=rng.random((20, 24)).astype(np.float32),
        box=(10, 12, 20, 24),
        frame_shape=(40, 48),
        scores={"r_factor": 0.1},
        geometry=Geometry(1e-10, 1.0, (50e-6, 100e-6)),
        provenance={"config": {"seed": 3}},
    )


def created(layers: list[Any]) -> list[Layer]:
    return [Layer.create(*one) for one in layers]


def test_pattern_is_not_changed(measurement: Measurement) -> None:
    before = measurement.intensity.copy()
    image, _mask = created(pattern_layers(measurement, "p"))
    assert image.data is measurement.intensity
    np.testing.assert_array_equal(image.data, before)
    assert image.gamma == pytest.approx(GAMMA)
    assert image.contrast_limits == [0, before[~measurement.bad_pixels].max()]


def test_pattern_and_result_share_a_world(measurement: Measurement, result: Reconstruction) -> None:
    image, mask = created(pattern_layers(measurement, "p"))
    *_, reconstruction = created(result_layers(result, "p", 1))
    pixel = (1e-10 / (40 * 50e-6) * 1e9, 1e-10 / (48 * 100e-6) * 1e9)
    for layer in (image, mask, reconstruction):
        assert [str(unit) for unit in layer.units] == ["nanometer", "nanometer"]
        np.testing.assert_allclose(layer.scale, pixel)
    np.testing.assert_allclose(reconstruction.translate, (10 * pixel[0], 12 * pixel[1]))
    centre = image.data_to_world((20, 24))  # zero frequency of the frame, centre of the object
    np.testing.assert_allclose(reconstruction.world_to_data(centre), (10, 12))


def test_without_geometry_everything_is_in_pixels(result: Reconstruction) -> None:
    *_, image = created(result_layers(replace(result, geometry=Geometry()), "p"))
    assert [str(unit) for unit in image.units] == ["pixel", "pixel"]
    np.testing.assert_array_equal(image.scale, (1, 1))
    assert image.name == "reconstruction (p)"


@pytest.mark.parametrize(
    ("pixel_m", "unit", "pixel"), [(5e-9, "nm", 5.0), (5e-7, "um", 0.5), (5e-4, "mm", 0.5)], ids=["nm", "um", "mm"]
)
def test_units_suit_the_pixel(pixel_m: float, unit: str, pixel: float) -> None:
    grid = ObjectGrid.of_pixel((pixel_m, pixel_m))
    assert grid.unit == unit
    assert grid.pixel == pytest.approx((pixel, pixel))


def test_result(result: Reconstruction) -> None:
    uncertainty, image = created(result_layers(result, "p", 4))
    assert (uncertainty.name, image.name) == ("#4 uncertainty (p)", "#4 reconstruction (p)")
    assert (uncertainty.colormap.name, image.colormap.name) == ("magma", "gray")
    assert uncertainty.contrast_limits == pytest.approx([0, np.percentile(result.uncertainty, 99)])
    assert words_of(image)["provenance"] == {"config": {"seed": 3}}
    assert words_of(image)["result"] is result
    assert not is_pattern(image)
    assert next_run([uncertainty, image]) == 5


def test_complex_result(result: Reconstruction) -> None:
    image = (result.image * np.exp(2j * result.image)).astype(np.complex64)
    stack = np.stack([image] * 3)
    layers = created(result_layers(replace(result, image=image, candidate_images=stack), "p", 1))
    assert [layer.name.split()[1] for layer in layers] == ["candidates", "uncertainty", "phase", "amplitude"]
    candidates, _, phase, amplitude = layers
    assert candidates.axis_labels == ("candidate", "y", "x")
    assert not candidates.visible
    assert phase.contrast_limits == pytest.approx([-np.pi, np.pi])
    np.testing.assert_allclose(phase.data, np.angle(image))
    np.testing.assert_allclose(amplitude.data, np.abs(image))
    np.testing.assert_array_equal(phase.translate, amplitude.translate)


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_classical_mean_is_there_and_hidden(result: Reconstruction, is_complex: bool) -> None:
    image = (result.image * np.exp(2j * result.image)).astype(np.complex64) if is_complex else result.image
    layers = created(result_layers(replace(result, image=image, classical=image / 2), "p", 1))
    classical = next(layer for layer in layers if layer.name == "#1 classical mean (p)")
    assert [layer.visible for layer in layers] == [layer is not classical for layer in layers]
    np.testing.assert_allclose(classical.data, np.abs(image / 2))
    assert classical.contrast_limits == layers[-1].contrast_limits
    np.testing.assert_array_equal(classical.translate, layers[-1].translate)
    assert words_of(classical)["kind"] == "classical mean"
    assert not is_pattern(classical)


def test_stack(result: Reconstruction) -> None:
    several = replace(
        result,
        image=np.stack([result.image, np.full_like(result.image, np.nan)]),
        uncertainty=np.stack([result.uncertainty] * 2),
        axes=("t", "y", "x"),
    )
    _, image = created(result_layers(several, "p"))
    assert image.axis_labels == ("t", "y", "x")
    assert [str(unit) for unit in image.units] == ["pixel", "nanometer", "nanometer"]
    assert image.scale[0] == 1


def test_round_trip(measurement: Measurement) -> None:
    full = replace(measurement, alpha=2.0, intensity_scale=0.5, support=np.ones((40, 48), bool))
    image, _ = created(pattern_layers(full, "p"))
    back = measurement_of(image, support=words_of(image)["support"])
    assert back.intensity is full.intensity
    assert back.bad_pixels is full.bad_pixels
    assert back.support is full.support
    assert (back.geometry, back.alpha, back.intensity_scale) == (full.geometry, 2.0, 0.5)
    assert back.axes == ("y", "x")
    assert back.provenance == {"source": "test", "layer": "p"}


def test_lazy_data_are_not_read() -> None:
    stack = Untouchable()
    image = Layer.create(*pattern_layers(Measurement(stack, axes=("t", "y", "x")), "p")[0])
    back = measurement_of(image)
    assert back.intensity is stack
    assert back.axes == ("t", "y", "x")


def test_lazy_mask_is_shown() -> None:
    class LazyMask(Untouchable):
        dtype = np.dtype(bool)

    mask = created(pattern_layers(Measurement(Untouchable(), bad_pixels=LazyMask()), "p"))[1]
    assert isinstance(mask, Labels)
    assert isinstance(mask.data, LazyLabels)
    assert mask.data[0].dtype == np.uint8


def test_multiscale_gives_the_full_resolution() -> None:
    levels = [np.ones((64, 64), np.float32), np.ones((32, 32), np.float32)]
    assert measurement_of(Image(levels, multiscale=True)).shape == (64, 64)


@pytest.mark.parametrize("kind", ["dask", "zarr", "xarray"])
def test_other_arrays(kind: str) -> None:
    data = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    if kind == "dask":
        array = pytest.importorskip("dask.array").from_array(data, chunks=(1, 32, 32))
    elif kind == "zarr":
        array = pytest.importorskip("zarr").array(data, chunks=(1, 32, 32))
    else:
        array = pytest.importorskip("xarray").DataArray(data)
    back = measurement_of(Image(array, name="x"))
    assert back.n_frames == 3
    np.testing.assert_array_equal(back.frame(1).intensity, data[1])


def test_colour_is_refused() -> None:
    with pytest.raises(InputError, match="colour"):
        measurement_of(Image(np.zeros((32, 32, 3), np.uint8), rgb=True))
    assert not is_pattern(Image(np.zeros((32, 32, 3), np.uint8), rgb=True))


def test_in_memory() -> None:
    labels = np.zeros((32, 32), np.int32)
    labels[2, 3] = 7
    measurement = in_memory(Measurement(np.ones((32, 32)), bad_pixels=labels, support=labels))
    assert measurement.bad_pixels.dtype == measurement.support.dtype == bool
    assert measurement.bad_pixels.sum() == measurement.support.sum() == 1


@pytest.mark.parametrize("dim", [0.4, 1e-3, 1e-7])
def test_log_colormap_is_logarithmic(dim: float) -> None:
    made = log_colormap(dim)
    values = np.geomspace(dim, 1, 7)
    shown = np.interp(values**GAMMA, made["controls"], np.linspace(0, 1, len(made["controls"])))
    np.testing.assert_allclose(shown, np.log1p(values / dim) / np.log1p(1 / dim), atol=5e-3)
    assert made["controls"][0] == 0
    assert made["controls"][-1] == 1
    assert (np.diff(made["controls"]) > 0).all()


def test_shown_range_passes_over_the_bad() -> None:
    frame = np.full((16, 16), 3.0)
    frame[0, 0], frame[0, 1] = 1e9, np.nan
    bad = frame > 100
    assert shown_range(frame, bad)[:2] == (0, 3)
    assert shown_range(np.zeros((16, 16))) == (0, 1, 0.1)


def test_limits_are_never_empty() -> None:
    assert limits(np.full((4, 4), np.nan), 99, from_zero=True) == (0, 1)
    assert limits(np.zeros((4, 4)), 99, from_zero=True) == (0, 1)
    assert limits(np.full((4, 4), -2.0), 99, from_zero=False) == (-2, -1)


def test_foreign_metadata_is_ignored() -> None:
    assert words_of(SimpleNamespace(metadata={KEY: "nonsense"})) == {}
