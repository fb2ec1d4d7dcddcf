"""From a layer's data to an object: grey values, cropped or resized, never negative."""

from __future__ import annotations

import numpy as np
import pytest

from napari_i2ipr.errors import InputError, OutOfMemoryError
from napari_i2ipr.plugin.objects import luminance, make_object, object_shape
from napari_i2ipr.plugin.simulation_task import SimulationTask, _power
from napari_i2ipr.progress import Cancel


def test_shapes() -> None:
    assert object_shape((100, 60), 50, "crop") == (50, 50)
    assert object_shape((100, 30), 50, "crop") == (50, 30)
    assert object_shape((100, 60), 50, "resize") == (50, 30)
    assert object_shape((20, 40), 80, "resize") == (40, 80)


def test_crop_takes_the_middle() -> None:
    image = np.arange(41 * 50, dtype=np.uint16).reshape(41, 50)
    made, notes = make_object(image, rgb=False, size=32, fit="crop")
    np.testing.assert_array_equal(made, image[4:36, 9:41])
    assert (made.dtype, notes) == (np.uint16, [])


def test_resize_keeps_the_brightness_and_8_bits() -> None:
    y, x = np.mgrid[:90, :60]
    image = (120 + 60 * np.sin(y / 9) * np.cos(x / 7)).astype(np.uint8)
    stack, _ = make_object(np.stack([image, image // 2]), rgb=False, size=45, fit="resize")
    assert stack.shape == (2, 45, 30)
    assert stack.dtype == np.uint8
    assert stack[0].mean() == pytest.approx(image.mean(), rel=0.02)
    np.testing.assert_allclose(stack[0].astype(float), image.reshape(45, 2, 30, 2).mean((1, 3)), atol=6)


def test_colours() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (2, 40, 30, 4), dtype=np.uint8)
    grey = luminance(colours)
    assert (grey.shape, grey.dtype) == ((2, 40, 30), np.uint8)
    assert luminance(colours[..., :3] / 255).max() <= 1
    np.testing.assert_allclose(luminance(colours[..., :3] / 255) * 255, grey, atol=0.51)
    assert (luminance(np.full((20, 20, 3), 7, np.uint8)) == 7).all()


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_negative_values_are_raised_and_said(kind: type) -> None:
    image = np.linspace(-30000, 30000, 400).reshape(20, 20).astype(kind)
    made, (note,) = make_object(image, rgb=False, size=20, fit="crop")
    np.testing.assert_allclose(made, image.astype(float) + 30000, rtol=1e-6)
    assert "3e+04 was added" in note


def test_refused() -> None:
    with pytest.raises(InputError, match="at least 16 px"):
        make_object(np.ones((10, 100)), rgb=False, size=64, fit="crop")
    with pytest.raises(InputError, match="NaN"):
        make_object(np.full((20, 20), np.nan), rgb=False, size=20, fit="crop")


def task(**changes: object) -> SimulationTask:
    image = np.random.default_rng(1).random((3, 100, 80)).astype(np.float32)
    return SimulationTask("picture", image, **{"size": 64, "settings": {"photons": 1.2e8}, **changes})


def test_sentences() -> None:
    assert task(where=(0,)).sentence() == (
        "Makes a 128 x 128 pattern of a 64 x 64 object, the middle of 100 x 80 px; about 1.2e8 photons."
    )
    assert task(fit="resize").sentence() == (
        "Makes 3 patterns of 128 x 102 px of objects of 64 x 51 px, resized from 100 x 80 px; about 1.2e8 photons each."
    )
    assert task(size=512, where=(1,), settings={}).sentence() == (
        "Makes a 200 x 160 pattern of a 100 x 80 object; no noise."
    )
    assert (_power(900), _power(1e8), _power(1.26e10)) == ("900", "1e8", "1.3e10")


def test_photons_of_alpha_are_those_that_come() -> None:
    """What is said beforehand is what the noise level amounts to."""
    one = task(where=(0,), settings={"alpha": 3.0})
    said = one.photons()
    made = one(on_progress=lambda _: None, cancel=Cancel()).measurement
    counts = made.intensity.sum() * made.intensity_scale / (4 * made.alpha**2)
    assert said == pytest.approx(counts, rel=0.02)
    assert task(settings={"alpha": 3.0}, rgb=True).photons() is None


def test_too_much_for_the_memory() -> None:
    with pytest.raises(OutOfMemoryError, match="take one slice"):
        task(memory_fraction=1e-9)(on_progress=lambda _: None, cancel=Cancel())
