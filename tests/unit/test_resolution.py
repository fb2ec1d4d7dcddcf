"""PRTF and FRC as curves: thresholds, crossings, and what no alignment may change."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_i2ipr.data import Geometry, Measurement
from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate import resolution
from napari_i2ipr.evaluate.resolution import crossing, curve, frc, information_threshold

F = np.arange(11) / 20


def test_half_bit_and_one_bit_as_published() -> None:
    n = np.array([1.0, 8, 100, 1e6])
    root = np.sqrt(n)
    half = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    np.testing.assert_allclose(information_threshold(n), half, atol=1e-4)
    one = (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root)
    np.testing.assert_allclose(information_threshold(n, resolution.ONE_BIT), one, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.linspace(1, 0, 11), 0.25),
        (np.ones(11), math.inf),
        (np.zeros(11), math.nan),
        (np.full(11, np.nan), math.nan),
        ([1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0], 0.375),  # one dip is no crossing
        ([1, np.nan, np.nan, 1, 1, 1, 0, 0, 0, 0, 0], 0.275),  # gaps are passed over
        ([1, 1, 1, 1, 1, 1, 1, np.nan, np.nan, 0, 0], 0.375),
        ([np.nan, np.nan, np.nan, 0, 0, 0, 1, 1, 1, 1, 1], math.nan),
        ([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], 0.475),  # below to the end; the zero frequency does not count
    ],
)
def test_crossing(value: list[float], expected: float) -> None:
    assert crossing(F, np.asarray(value, float), np.full(11, 0.5)) == pytest.approx(expected, nan_ok=True)


def test_periods() -> None:
    found = curve("a", F, np.linspace(1, 0, 11), np.ones(11), 0.5, pixel_m=2e-9)
    assert (found.full_period_px, found.half_period_px) == pytest.approx((4, 2))
    assert found.full_period_m == pytest.approx(8e-9)
    assert not found.limited_by_edge
    edge = curve("a", F, np.ones(11), np.ones(11), 0.5)
    assert edge.limited_by_edge
    assert edge.full_period_px == 2
    assert edge.full_period_m is None
    unread = curve("a", F, np.linspace(1, 0, 11), np.ones(11), 0.5, readable=False)
    assert math.isnan(unread.full_period_px)


@pytest.mark.parametrize("is_complex", [False, True])
def test_frc_equation(is_complex: bool) -> None:
    """Saxton & Baumeister 1982, ring by ring; what cdtools' ``calc_frc`` sums, in rings of one pixel."""
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 24, 31))
    if is_complex:
        one, other = one * np.exp(1j * other), other * np.exp(2j * one)
    found = frc(one, other)
    a, b = np.fft.fft2(one), np.fft.fft2(other)
    ring = np.rint(np.hypot(np.fft.fftfreq(24)[:, None], np.fft.fftfreq(31)[None]) * 24)
    for s in range(13):
        here = ring == s
        expected = (a * b.conj())[here].sum().real / np.sqrt(
            (np.abs(a[here]) ** 2).sum() * (np.abs(b[here]) ** 2).sum()
        )
        assert found.value[s] == pytest.approx(expected)
        assert found.n[s] == here.sum()
    np.testing.assert_allclose(found.threshold, information_threshold(found.n))


def test_frc_of_equal_and_of_unrelated_images() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 96, 96))
    np.testing.assert_allclose(frc(one, one).value, 1)
    assert frc(one, one).limited_by_edge
    unrelated = frc(one, other, taper=0.05)
    assert np.abs(unrelated.value[5:]).max() < 0.5
    assert abs(unrelated.value[10:].mean()) < 0.05
    assert not unrelated.crossing > 0.1


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_half_bit_crossing_is_where_the_signal_drowns(noise: float) -> None:
    """Two exposures of one object: the FRC crosses where the signal of each is 0.2071 times its noise."""
    rng = np.random.default_rng(1)
    truth = gaussian_filter(rng.standard_normal((128, 128)), 1.5, mode="wrap")
    one, other = (truth + noise * rng.standard_normal(truth.shape) for _ in range(2))
    found = frc(one, other)
    ring = np.rint(np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None]) * 128)
    signal = np.array([(np.abs(np.fft.fft2(truth)) ** 2)[ring == s].mean() for s in range(65)])
    drowned = int(np.argmax(signal < resolution.HALF_BIT * noise**2 * 128**2)) / 128
    assert found.crossing == pytest.approx(drowned, abs=0.03)


def test_frc_of_different_shapes() -> None:
    with pytest.raises(InputError, match="one shape"):
        frc(np.zeros((4, 4)), np.zeros((4, 5)))


@pytest.fixture
def cell() -> np.ndarray:
    """A picture that leaves room in its box for shifts."""
    smooth = gaussian_filter(np.random.default_rng(3).standard_normal((14, 16)), 1)
    image = np.zeros((24, 26), np.float32)
    image[4:18, 6:22] = smooth - smooth.min()
    return image


def pattern(image: np.ndarray, bad: np.ndarray | None = None) -> Measurement:
    whole = np.zeros((48, 52), image.dtype)
    whole[12:36, 13:39] = image
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(whole, norm="ortho"))).astype(np.float32) ** 2
    return Measurement(intensity, bad_pixels=bad, geometry=Geometry(1e-10, 1.0, (1e-4, 1e-4)))


BOX = (12, 13, 24, 26)


@pytest.mark.parametrize("is_complex", [False, True])
def test_twin_shift_and_phase_do_not_matter(cell: np.ndarray, is_complex: bool) -> None:
    image = cell * np.exp(0.5j * cell).astype(np.complex64) if is_complex else cell
    turned = image[::-1, ::-1].conj()
    factor = np.exp(0.9j) if is_complex else 1
    candidates = np.stack([image, turned, np.roll(image, (2, -3), (0, 1)), factor * image])
    found = resolution.prtf(candidates, pattern(image), BOX)
    for name in ("prtf", "prtf_phase", "prtf_corrected", "reproducibility"):
        np.testing.assert_allclose(found[name].value, 1, atol=0.02, err_msg=name)
    assert found["prtf_corrected"].limited_by_edge
    assert math.isnan(found["prtf"].crossing), "four starts are too few for 1/e"
    assert found["prtf"].pixel_m == pytest.approx(1e-10 / (52 * 1e-4))


def test_unlike_candidates(cell: np.ndarray) -> None:
    """Each with a fine part of its own: the coarse part transfers, the fine one does not."""
    rng = np.random.default_rng(0)
    fine = rng.standard_normal((10, *cell.shape)).astype(np.float32)
    candidates = cell + (fine - np.stack([gaussian_filter(f, 1) for f in fine])) * (cell > 0)
    found = resolution.prtf(candidates, pattern(cell), BOX)
    assert found["prtf_phase"].value[1:4].min() > 0.9
    assert found["prtf_corrected"].value[-5:].max() < 0.6
    assert 2 < found["prtf_corrected"].full_period_px < 10


def test_masked_shells_are_gaps(cell: np.ndarray) -> None:
    bad = np.zeros((48, 52), bool)
    bad[21:28, 23:30] = True
    found = resolution.prtf(np.stack([cell, cell]), pattern(cell, bad), BOX)
    assert np.isnan(found["prtf"].value[:3]).all()
    np.testing.assert_allclose(found["prtf"].value[6:], 1, atol=1e-3)
    assert np.isfinite(found["reproducibility"].value).all()


@pytest.mark.parametrize(
    ("make", "box"),
    [
        (lambda image: image[None], BOX),
        (lambda image: image, BOX),
        (lambda image: np.stack([image] * 2), (12, 13, 24, 25)),
        (lambda image: np.stack([image] * 2), (30, 13, 24, 26)),
    ],
)
def test_candidates_that_do_not_fit(
    cell: np.ndarray, make: Callable[[np.ndarray], np.ndarray], box: tuple[int, int, int, int]
) -> None:
    with pytest.raises(InputError, match="candidates of shape"):
        resolution.prtf(make(cell), pattern(cell), box)
