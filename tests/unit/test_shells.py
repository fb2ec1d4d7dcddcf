"""Numbers by shell: the published definitions written out, and what they must do whatever the data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_i2ipr.shells import CURVES, Grid, Shells, compare, correlation

FRAMES = pytest.mark.parametrize("frame", [(32, 32), (33, 40), (45, 38)], ids=str)
KINDS = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])


def objects(count: int, shape: tuple[int, int], *, real: bool, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.random((count, *shape), dtype=np.float32)
    return values if real else values * np.exp(2j * np.pi * rng.random((count, *shape))).astype(np.complex64)


def box_of(frame: tuple[int, int]) -> tuple[int, int, int, int]:
    return frame[0] // 4, frame[1] // 4, frame[0] // 2, frame[1] // 2


def transform(image: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """The full unitary spectrum, corner origin, without the code under test."""
    y, x, h, w = box_of(frame)
    whole = np.zeros(frame, complex)
    whole[y : y + h, x : x + w] = image
    return np.fft.fft2(whole, norm="ortho")


def kept(full: np.ndarray, *, real: bool) -> np.ndarray:
    return full[:, : full.shape[1] // 2 + 1] if real else full


def rings(frame: tuple[int, int]) -> np.ndarray:
    fy, fx = np.fft.fftfreq(frame[0])[:, None], np.fft.fftfreq(frame[1])[None]
    return np.rint(np.hypot(fy, fx) * min(frame)).astype(int)


def compared(images: np.ndarray, amplitude: np.ndarray, frame: tuple[int, int], **more: object) -> Shells:
    real = not np.iscomplexobj(images)
    measured = more.pop("measured", np.ones(frame, bool))
    return compare(
        list(images),
        more.pop("image", images[0]),
        kept(amplitude, real=real).astype(np.float32),
        kept(measured, real=real),
        box=box_of(frame),
        frame_shape=frame,
        **more,
    )


@FRAMES
@KINDS
def test_published_definitions(frame: tuple[int, int], real: bool) -> None:
    """PRTF of Chapman et al. 2006, its phase variant, mean pairwise cosine and FRC, written out on the full frame."""
    images = objects(3, box_of(frame)[2:], real=real)
    spectra = np.stack([transform(image, frame) for image in images])
    amplitude = np.abs(spectra).mean(0)
    measured = np.random.default_rng(1).random(frame) > 0.2
    measured &= np.roll(measured[::-1, ::-1], (1, 1), (0, 1))  # Friedel mates alike: the half spectrum shows all
    found = compared(images, amplitude, frame, measured=measured)
    scale = [(np.abs(F) * amplitude)[measured].sum() / (np.abs(F) ** 2)[measured].sum() for F in spectra]
    spectra = spectra * np.array(scale)[:, None, None]
    phasors = spectra / np.abs(spectra)
    ring = rings(frame)
    for s in range(len(found.frequency)):
        here = (ring == s) & measured
        assert found.pixels[s] == (ring == s).sum()
        assert found.measured[s] == here.sum()
        assert found.prtf[s] == pytest.approx(np.abs(spectra.mean(0))[here].sum() / amplitude[here].sum(), rel=1e-4)
        assert found.prtf_phase[s] == pytest.approx(np.abs(phasors.mean(0))[here].mean(), rel=1e-4)
        cosines = [(phasors[j] * phasors[k].conj()).real[here].mean() for j, k in ((0, 1), (0, 2), (1, 2))]
        assert found.phase_agreement[s] == pytest.approx(np.mean(cosines), abs=1e-4)
        misfit = np.abs(np.abs(spectra[0]) - amplitude)
        assert found.misfit[s] == pytest.approx(misfit[here].mean(), rel=1e-3, abs=1e-5)
        assert found.amplitude[s] == pytest.approx(amplitude[here].mean(), rel=1e-4)
        pairs = sum((spectra[j] * spectra[k].conj()).real[ring == s].sum() for j, k in ((0, 1), (0, 2), (1, 2)))
        power = (np.abs(spectra) ** 2)[:, ring == s].sum()
        assert found.reproducibility[s] == pytest.approx(pairs / power, abs=1e-4)


@FRAMES
@KINDS
def test_identical_starts_transfer_everything(frame: tuple[int, int], real: bool) -> None:
    image = objects(1, box_of(frame)[2:], real=real)[0]
    found = compared(np.stack([image] * 5), np.abs(transform(image, frame)), frame)
    for name in ("prtf", "prtf_phase", "phase_agreement", "reproducibility", "prtf_last"):
        np.testing.assert_allclose(getattr(found, name), 1, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(found.misfit, 0, atol=1e-5)
    assert found.n_starts == 5


@pytest.mark.parametrize("K", [4, 10, 30])
def test_random_phases_transfer_one_over_root_k(K: int) -> None:
    """... in both definitions; the mean cosine of pairs is 0 whatever K."""
    frame = (64, 64)
    rng = np.random.default_rng(0)
    amplitude = np.abs(transform(objects(1, box_of(frame)[2:], real=False)[0], frame))
    phases = [np.fft.ifft2(amplitude * np.exp(2j * np.pi * rng.random(frame)), norm="ortho") for _ in range(K)]
    found = compare(
        [p.astype(np.complex64) for p in phases],
        phases[0].astype(np.complex64),
        amplitude.astype(np.float32),
        np.ones(frame, bool),
        box=(0, 0, *frame),
        frame_shape=frame,
    )
    inner = slice(4, None)
    expected = np.mean(np.abs(np.exp(2j * np.pi * rng.random((K, 20000))).mean(0)))  # 1 / sqrt(K) up to Rayleigh's 0.89
    assert found.prtf_phase[inner].mean() == pytest.approx(expected, rel=0.03)
    assert found.prtf[inner].mean() == pytest.approx(expected, rel=0.05)
    assert 0.85 < expected * math.sqrt(K) < 0.95
    assert found.phase_agreement[inner].mean() == pytest.approx(0, abs=0.02)
    assert found.reproducibility[inner].mean() == pytest.approx(0, abs=0.03)


def test_shells_that_were_not_measured_are_gaps() -> None:
    frame = (32, 32)
    images = objects(2, (16, 16), real=True)
    amplitude = np.abs(transform(images[0], frame))
    measured = (rings(frame) > 3) & (rings(frame) != 7)
    found = compared(images, amplitude * measured, frame, measured=measured)
    gaps = [0, 1, 2, 3, 7]
    for name in ("prtf", "prtf_phase", "phase_agreement", "misfit", "prtf_last", "amplitude"):
        assert np.isnan(getattr(found, name)[gaps]).all(), name
        assert np.isfinite(np.delete(getattr(found, name), gaps)).all(), name
    assert (found.measured[gaps] == 0).all()
    assert np.isfinite(found.reproducibility).all()  # needs no measurement


def test_shells_without_counts_are_gaps() -> None:
    frame = (32, 32)
    images = objects(2, (16, 16), real=True)
    amplitude = np.abs(transform(images[0], frame)) * (rings(frame) < 10)
    found = compared(images, amplitude, frame)
    assert np.isnan(found.prtf[10:]).all()
    assert np.isfinite(found.prtf[:10]).all()


def test_one_start() -> None:
    images = objects(1, (16, 16), real=True)
    found = compared(images, np.abs(transform(images[0], (32, 32))), (32, 32))
    assert np.isnan(found.phase_agreement).all()
    assert np.isnan(found.reproducibility).all()
    assert math.isnan(correlation(images))


def test_the_last_run_is_kept_apart() -> None:
    images = objects(4, (16, 16), real=True)
    amplitude = np.abs(transform(images[0], (32, 32)))
    found = compared(images, amplitude, (32, 32), last=[images[0]] * 2)
    np.testing.assert_allclose(found.prtf_last, 1, atol=1e-4)
    assert found.prtf[8:].max() < 1
    assert found.n_starts == 4


def test_shells_follow_the_pixel() -> None:
    """Two pixels of different sides: shells are round in inverse metres, and end at the nearer edge."""
    grid = Grid.of((40, 40), half=False, pixel=(2.0, 1.0))
    fy, fx = np.fft.fftfreq(40, 2.0)[:, None], np.fft.fftfreq(40, 1.0)[None]
    np.testing.assert_array_equal(grid.ring, np.rint(np.hypot(fy, fx) * 40))
    np.testing.assert_allclose(grid.frequency, np.arange(11) / 40)
    same = Grid.of((40, 40), half=False, pixel=(3e-9, 3e-9))
    np.testing.assert_array_equal(same.ring, Grid.of((40, 40), half=False).ring)


@FRAMES
def test_half_spectrum_counts_the_whole_frame(frame: tuple[int, int]) -> None:
    full, half = Grid.of(frame, half=False), Grid.of(frame, half=True)
    counts = full.total(np.ones(frame))
    np.testing.assert_array_equal(counts, half.total(np.ones((frame[0], frame[1] // 2 + 1))))
    assert counts[0] == 1
    assert full.frequency[-1] == pytest.approx(round(0.49 * min(frame)) / min(frame))


def test_table_and_items() -> None:
    table = np.random.default_rng(0).random((2, 3, len(CURVES), 5)).astype(np.float32)
    found = Shells.from_table(np.arange(5) / 10, 7, table)
    np.testing.assert_array_equal(found.table(), table)
    np.testing.assert_array_equal(found.item(4).table(), table[1, 1])
    np.testing.assert_array_equal(found.item(4).prtf, table[1, 1, CURVES.index("prtf")])


def test_correlation() -> None:
    images = objects(3, (8, 8), real=True)
    expected = np.median(np.corrcoef(images.reshape(3, -1))[np.triu_indices(3, 1)])
    assert correlation(images) == pytest.approx(expected)
    assert correlation(np.stack([images[0], 5 + 2 * images[0]])) == pytest.approx(1)
    turned = np.stack([objects(1, (8, 8), real=False)[0]] * 2) * np.exp([[[0.0]], [[1.3j]]])
    assert correlation(turned) == pytest.approx(1)
    assert correlation(np.zeros((2, 4, 4))) == 0
