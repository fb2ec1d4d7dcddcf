"""Measurements, geometry and errors: what they hold and what they refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from napari_i2ipr import errors
from napari_i2ipr.data import MIN_FRAME_PX, Geometry, Measurement, Reconstruction, Status, data_range
from napari_i2ipr.errors import I2IPRError, InputError
from napari_i2ipr.progress import Cancel

PATTERN = np.ones((20, 31), np.float32)
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, I2IPRError)]


class Lazy:
    """An array that counts how often, and by what, it is read."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self.values, self.reads = values, []
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, where: Any) -> np.ndarray[Any, Any]:
        self.reads.append(where)
        return self.values[where]


def test_a_single_pattern() -> None:
    measurement = Measurement(PATTERN)
    assert (measurement.shape, measurement.frame_shape, measurement.lead_shape) == ((20, 31), (20, 31), ())
    assert (measurement.n_frames, measurement.axes) == (1, ("y", "x"))
    assert np.array_equal(measurement.frame(0).intensity, PATTERN)


def test_a_stack_is_read_frame_by_frame() -> None:
    values = np.arange(6 * 20 * 31, dtype=np.uint16).reshape(2, 3, 20, 31)
    masks = values % 7 == 0
    lazy = Lazy(values)
    measurement = Measurement(lazy, bad_pixels=masks, alpha=2.0, provenance={"from": "test"})
    assert (measurement.lead_shape, measurement.n_frames) == ((2, 3), 6)
    assert measurement.axes == ("axis_0", "axis_1", "y", "x")
    assert lazy.reads == []
    for index in range(6):
        frame = measurement.frame(index)
        assert np.array_equal(frame.intensity, values[divmod(index, 3)])
        assert np.array_equal(frame.bad_pixels, masks[divmod(index, 3)])
        assert (frame.axes, frame.alpha, frame.provenance) == (("y", "x"), 2.0, {"from": "test"})
    assert len(lazy.reads) == 6


def test_one_mask_serves_every_frame() -> None:
    mask = np.zeros((20, 31), bool)
    mask[3, 4] = True
    measurement = Measurement(np.ones((5, 20, 31)), bad_pixels=mask, support=~mask)
    assert measurement.frame(4).bad_pixels is mask
    assert measurement.frame(4).support is not None


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (np.ones(40), {}, "1 dimension"),
        (np.float32(3), {}, "0 dimension"),
        (np.ones((20, 31), complex), {}, "complex"),
        (np.full((20, 31), "a"), {}, "real intensities"),
        (np.ones((0, 20, 31)), {}, "empty"),
        (np.ones((15, 31)), {}, "15 x 31"),
        (np.ones((31, 31, 15)), {}, "31 x 15"),
        (PATTERN, {"bad_pixels": np.zeros((31, 20), bool)}, r"mask of shape \(31, 20\)"),
        (np.ones((3, 20, 31)), {"bad_pixels": np.zeros((2, 20, 31), bool)}, "mask of shape"),
        (np.ones((3, 20, 31)), {"support": np.zeros((3, 20, 31), bool)}, "support of shape"),
        (PATTERN, {"intensity_scale": 0.0}, "intensity_scale"),
        (PATTERN, {"intensity_scale": float("nan")}, "intensity_scale"),
        (PATTERN, {"alpha": -1.0}, "alpha"),
        (PATTERN, {"alpha": float("inf")}, "alpha"),
        (PATTERN, {"axes": ("x",)}, "axes"),
    ],
)
def test_what_cannot_be_used_is_refused(values: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Measurement(values, **options)
    assert caught.value.exit_code == 2
    assert caught.value.expected


def test_the_smallest_frame_is_accepted() -> None:
    side = MIN_FRAME_PX
    assert Measurement(np.ones((side, side + 1))).frame_shape == (side, side + 1)


def test_the_object_pixel_follows_each_axis() -> None:
    geometry = Geometry(wavelength_m=1e-10, distance_m=2.0, pixel_size_m=(50e-6, 100e-6))
    assert geometry.object_pixel_m((400, 500)) == pytest.approx((1e-8, 4e-9))
    reconstruction = Reconstruction(PATTERN, PATTERN, (0, 0, 20, 31), (400, 500), geometry=geometry)
    assert reconstruction.pixel_m == pytest.approx((1e-8, 4e-9))


@pytest.mark.parametrize(
    "known", [{}, {"wavelength_m": 1e-10, "distance_m": 2.0}, {"distance_m": 2.0, "pixel_size_m": (1e-6, 1e-6)}]
)
def test_an_incomplete_geometry_has_no_object_pixel(known: dict[str, Any]) -> None:
    assert Geometry(**known).object_pixel_m((400, 500)) is None


@pytest.mark.parametrize(
    "wrong", [{"wavelength_m": 0.0}, {"distance_m": -1.0}, {"pixel_size_m": (1e-6, float("nan"))}], ids=str
)
def test_lengths_are_positive(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="positive lengths"):
        Geometry(**wrong)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[3, 9]], np.uint8), 255.0),
        (np.array([[3.0, 9.0]]), 6.0),
        (np.array([[3, 9]], np.uint16), 6.0),
        (np.array([[3j, -9.0]]), 6.0),
    ],
)
def test_the_data_range_is_255_for_bytes_and_the_spread_otherwise(image: Any, expected: float) -> None:
    assert data_range(image) == expected


def test_every_status_is_a_sentence() -> None:
    for status in Status:
        assert len(status.value.split()) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_got_expected_do_and_is_a_builtin(kind: type[I2IPRError]) -> None:
    error = kind("a cat", expected="a dog", do="bark")
    assert str(error) == "got a cat; expected a dog; bark"
    assert (error.got, error.expected, error.do) == ("a cat", "a dog", "bark")
    assert str(kind("a cat")) == "got a cat"
    if kind is not I2IPRError:
        assert len([base for base in kind.__mro__ if base.__module__ == "builtins"]) > 3  # beyond Exception's own


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_a_process_border(kind: type[I2IPRError]) -> None:
    error = kind("a cat", expected="a dog", do="bark")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert (copy.got, copy.expected, copy.do, str(copy)) == (error.got, error.expected, error.do, str(error))


def test_exit_codes_are_those_of_the_command_line() -> None:
    codes = {kind.__name__: kind.exit_code for kind in KINDS}
    assert codes == {
        "I2IPRError": 1,
        "InputError": 2,
        "ConfigError": 2,
        "FormatError": 2,
        "CancelledError": 3,
        "OutOfMemoryError": 4,
        "OutputError": 5,
    }


def test_a_stop_flag_stays_set() -> None:
    cancel = Cancel()
    assert not cancel.is_set()
    cancel.set()
    cancel.set()
    assert cancel.is_set()
