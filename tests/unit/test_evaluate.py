"""Scores: published definitions, and every transform that an intensity cannot tell is undone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_i2ipr.data import Geometry, Measurement, Reconstruction
from napari_i2ipr.errors import InputError
from napari_i2ipr.evaluate import align, evaluate
from napari_i2ipr.evaluate.figure import save_figure

GEOMETRY = Geometry(wavelength_m=1e-9, distance_m=1.0, pixel_size_m=(5e-5, 5e-5))

SHAPES = [((128, 128), (64, 64)), ((101, 90), (50, 45)), ((100, 141), (37, 32)), ((70, 65), (70, 65))]
"""Frame and truth: even, odd, smaller than the half box, as large as the frame."""


def picture(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """An 8-bit image with structure and without symmetry."""
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def half_box(frame: tuple[int, int]) -> align.Box:
    (ny, nx) = frame
    return (ny - ny // 2) // 2, (nx - nx // 2) // 2, ny // 2, nx // 2


def result(image: np.ndarray, frame: tuple[int, int], box: align.Box, sigma: Any = 1.0) -> Reconstruction:
    spread = np.broadcast_to(np.asarray(sigma, np.float32), image.shape).copy()
    return Reconstruction(image, spread, box, frame, geometry=GEOMETRY)


def whole_frame(truth: np.ndarray, frame: tuple[int, int], noise: float = 0.0) -> np.ndarray:
    """The truth where `simulate` puts it, as a reconstruction of the whole frame."""
    placed = align.in_frame(truth.astype(np.float32), align.truth_box(truth.shape, frame), frame)
    return placed + np.float32(noise) * np.random.default_rng(5).standard_normal(frame, dtype=np.float32)


@pytest.mark.parametrize(("frame", "shape"), SHAPES)
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("shift", [(0, 0), (3, -7)])
def test_flip_and_shift_are_undone(
    frame: tuple[int, int], shape: tuple[int, int], flipped: bool, shift: tuple[int, int]
) -> None:
    truth = picture(shape)
    moved = whole_frame(truth, frame)
    moved = np.roll(align.flip(moved, align.truth_box(shape, frame)) if flipped else moved, shift, (0, 1))
    scores = evaluate(result(moved, frame, (0, 0, *frame)), truth)
    assert scores["psnr"] == math.inf
    assert scores["ssim"] == pytest.approx(1)
    assert scores["flipped"] is flipped
    back = shift if flipped else (-shift[0], -shift[1])
    assert tuple(scores["shift_px"]) in {back, (-shift[0], -shift[1])}
    assert (scores["psnr_flip_only"] == math.inf) == (shift == (0, 0))


@pytest.mark.parametrize(("frame", "shape"), SHAPES[:3])
def test_half_box_is_where_the_truth_is(frame: tuple[int, int], shape: tuple[int, int]) -> None:
    y0, x0, h, w = box = half_box(frame)
    truth = picture(shape)
    scores = evaluate(result(whole_frame(truth, frame)[y0 : y0 + h, x0 : x0 + w], frame, box), truth)
    assert scores["psnr"] == scores["psnr_flip_only"] == math.inf
    assert not scores["flipped"]


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_published_metrics(scale: float) -> None:
    truth = picture((64, 64)) if scale == 1 else picture((64, 64)) * scale
    full = 255 if scale == 1 else float(np.ptp(truth))
    image = truth + np.random.default_rng(1).normal(0, 20 * scale, truth.shape)
    scores = evaluate(result(image, (128, 128), half_box((128, 128))), truth)
    known = truth.astype(float)
    assert scores["data_range"] == pytest.approx(full)
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(known, image, data_range=full))
    expected = structural_similarity(
        known, image, data_range=full, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert scores["ssim"] == scores["ssim_flip_only"] == pytest.approx(expected)


def test_no_intensity_is_fitted() -> None:
    truth = picture((64, 64))
    scores = evaluate(result(0.5 * truth.astype(float), (128, 128), half_box((128, 128))), truth)
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(truth / 1.0, truth / 2.0, data_range=255))


def test_what_the_shift_brings_in_is_scored_as_empty() -> None:
    """An object that leaves the reconstruction's box costs what it left behind; its uncertainty is unknown there."""
    truth = picture((64, 64))
    frame, box = (128, 128), half_box((128, 128))
    cut = np.zeros((64, 64), np.float32)
    cut[:, 10:] = truth[:, :-10]
    scores = evaluate(result(cut, frame, box), truth)
    assert scores["shift_px"] == [0, -10]
    difference = truth.astype(float)
    difference[:, :-10] = 0
    assert scores["psnr"] == pytest.approx(10 * math.log10(255**2 / np.mean(difference**2)))
    assert scores["coverage_90"] == 1


def test_uncertainty_scores() -> None:
    truth = np.abs(picture((96, 96))).astype(np.float32)
    rng = np.random.default_rng(2)
    sigma = rng.uniform(1, 6, truth.shape).astype(np.float32)
    error = sigma * rng.standard_normal(truth.shape, dtype=np.float32)
    scores = evaluate(result(truth + error, (192, 192), half_box((192, 192)), sigma), truth)
    assert scores["coverage_90"] == pytest.approx(0.9, abs=0.01)
    assert scores["mean_z2"] == pytest.approx(1, abs=0.05)
    assert scores["spearman"] == pytest.approx(spearmanr(sigma, np.abs(error), axis=None).statistic, abs=1e-3)
    assert scores["zero_uncertainty"] == 0


def test_the_calibrated_interval_is_the_one_that_is_scored() -> None:
    truth = picture((64, 64)).astype(np.float32)
    found = result(truth + 1.0, (128, 128), half_box((128, 128)), 0.5)
    scores = evaluate(found, truth)
    assert (scores["half_width_90"], scores["coverage_90"]) == (1.645, 0)
    scores = evaluate(replace(found, interval_scales={"0.5": 0.1, "0.9": 2.5}), truth)
    assert (scores["half_width_90"], scores["coverage_90"]) == (2.5, 1)


def test_pixels_without_uncertainty() -> None:
    truth = picture((64, 64))
    frame, box = (128, 128), half_box((128, 128))
    scores = evaluate(result(truth + 1.0, frame, box, 0.0), truth)
    assert scores["coverage_90"] == 0
    assert scores["zero_uncertainty"] == 1
    assert math.isnan(scores["mean_z2"])
    assert math.isnan(scores["spearman"])
    half = np.zeros((64, 64), np.float32)
    half[:32] = 2
    scores = evaluate(result(truth + 1.0, frame, box, half), truth)
    assert scores["mean_z2"] == pytest.approx(0.25)
    assert scores["coverage_90"] == scores["zero_uncertainty"] == 0.5


@pytest.mark.parametrize("flipped", [False, True])
def test_complex_objects_up_to_global_phase(flipped: bool) -> None:
    rng = np.random.default_rng(3)
    truth = picture((48, 48)) * np.exp(1j * gaussian_filter(rng.uniform(-9, 9, (48, 48)), 4))
    frame, box = (96, 96), half_box((96, 96))
    image = (truth[::-1, ::-1].conj() if flipped else truth) * np.exp(0.7j)
    scores = evaluate(result(image.astype(np.complex64), frame, box), truth)
    assert scores["compared"] == "amplitude"
    assert scores["flipped"] is flipped
    assert abs(scores["global_phase_rad"]) == pytest.approx(0.7, abs=1e-4)
    assert scores["complex_error"] < 1e-5
    assert scores["psnr"] > 100
    again = evaluate(result(np.abs(image), frame, box), truth)
    assert again["psnr"] > 30, "a real image against a complex truth: amplitudes"


def test_sign_of_real_objects() -> None:
    truth = picture((64, 64)).astype(float) - 128
    scores = evaluate(result(-truth, (128, 128), half_box((128, 128))), truth)
    assert scores["psnr"] == math.inf


def test_stack() -> None:
    frame, box = (128, 128), half_box((128, 128))
    truths = np.stack([picture((64, 64), seed) for seed in range(3)])
    images = truths + np.array([2.0, 4.0, 8.0])[:, None, None]
    scores = evaluate(result(images, frame, box), truths)
    assert [item["psnr"] for item in scores["items"]] == pytest.approx(
        [10 * math.log10(255**2 / step**2) for step in (2, 4, 8)]
    )
    assert scores["psnr"] == scores["mean"]["psnr"] == pytest.approx(np.mean([i["psnr"] for i in scores["items"]]))
    same = evaluate(result(np.stack([truths[0] + 2.0] * 3), frame, box), truths[0])
    assert [item["psnr"] for item in same["items"]] == pytest.approx([scores["items"][0]["psnr"]] * 3)


def test_item_that_was_not_reconstructed() -> None:
    frame, box = (128, 128), half_box((128, 128))
    truth = picture((64, 64))
    images = np.stack([truth + 2.0, np.full(truth.shape, np.nan)])
    scores = evaluate(result(images, frame, box), truth)
    assert math.isnan(scores["items"][1]["psnr"])
    assert scores["mean"]["psnr"] == scores["items"][0]["psnr"]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((0, 5)), "shape"),
        (np.ones(5), "shape"),
        (np.array([["a"]]), "type"),
        (np.full((64, 64), 3.0), "constant"),
        (np.full((64, 64), np.nan), "NaN"),
        (picture((129, 40)), "at most the 128 x 128"),
        (picture((8, 40)), "at least 11 px"),
        (np.stack([picture((64, 64))] * 2), "one truth"),
    ],
)
def test_bad_truth(truth: np.ndarray, message: str) -> None:
    frame = (128, 128)
    with pytest.raises(InputError, match=message):
        evaluate(result(picture((64, 64)).astype(np.float32), frame, half_box(frame)), truth)


def test_truths_that_do_not_match_the_stack() -> None:
    frame, box = (128, 128), half_box((128, 128))
    images = np.stack([picture((64, 64)) / 1.0] * 3)
    with pytest.raises(InputError, match="axes"):
        evaluate(result(images, frame, box), images[:2])


@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize("kind", ["real", "complex", "stack", "no geometry"])
def test_figure(tmp_path: Path, kind: str, truth: bool) -> None:
    frame, box = (64, 64), half_box((64, 64))
    image = picture((32, 32)).astype(np.float32)
    pattern = np.random.default_rng(0).poisson(3, frame).astype(np.float32)
    pattern[10:20, 10:20] = np.nan
    if kind == "complex":
        image = image * np.exp(0.5j)
    if kind == "stack":
        image, pattern = np.stack([image] * 2), np.stack([pattern] * 2)
    shown = result(image, frame, box)
    if kind == "no geometry":
        shown = replace(shown, geometry=Geometry())
    known = picture((32, 32)) if truth else None
    save_figure(tmp_path / "figure.png", Measurement(pattern), shown, known, title="a title")
    with Image.open(tmp_path / "figure.png") as drawn:
        assert min(drawn.size) > 400
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 50


def test_figure_of_nothing(tmp_path: Path) -> None:
    """No counts, no contrast, no uncertainty: still a figure, no warning."""
    frame, box = (64, 64), half_box((64, 64))
    shown = result(np.zeros((32, 32), np.float32), frame, box, 0.0)
    save_figure(tmp_path / "figure.png", Measurement(np.zeros(frame, np.float32)), shown)
    assert (tmp_path / "figure.png").exists()
