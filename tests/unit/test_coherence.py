"""Partial coherence: the blurred pattern, the modulus projection onto it, and the blur found from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_i2ipr import beam
from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement, Reconstruction
from napari_i2ipr.evaluate.align import register
from napari_i2ipr.physics.coherence import blurred, coherence
from napari_i2ipr.physics.fourier import FourierPair
from napari_i2ipr.physics.projections import Constraints
from napari_i2ipr.pipeline import as_problem, reconstruct
from napari_i2ipr.solvers import METHODS
from napari_i2ipr.solvers._base import Span
from napari_i2ipr.solvers.partial import PartlyCoherent
from napari_i2ipr.solvers.recipe import schedule_text

Array = np.ndarray[Any, Any]
both_kinds = pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])
every_frame = pytest.mark.parametrize("frame", [(33, 40), (40, 33), (32, 32)], ids=str)


FINE = 4
"""Detector pixels are cut into so many along each axis, so that a psf is a sum."""


def seen_by_detector(whole: Array, width: float) -> Array:
    """Unitary intensities of an object frame, blurred by a Gaussian of `width` pixels on a finer detector."""
    padded = np.zeros([FINE * n for n in whole.shape], complex)
    padded[: whole.shape[0], : whole.shape[1]] = whole
    fine = np.abs(np.fft.fft2(padded)) ** 2 / whole.size
    k = [np.minimum(np.arange(n), n - np.arange(n)) / FINE for n in padded.shape]
    psf = np.exp(-(k[0][:, None] ** 2 + k[1][None] ** 2) / (2 * width**2))
    psf /= psf.sum()
    blurry = np.zeros_like(fine)
    for y, x in np.argwhere(psf > 1e-9):
        blurry += psf[y, x] * np.roll(fine, (y, x), (0, 1))
    return blurry[::FINE, ::FINE]


def in_box(make_object: Callable[..., Any], frame: tuple[int, int], seed: int, *, real: bool) -> torch.Tensor:
    """An object in a quarter of the frame."""
    g = make_object(frame, seed, real=real)
    g[frame[0] // 2 :] = 0
    g[:, frame[1] // 2 :] = 0
    return g


@every_frame
@both_kinds
def test_the_blurred_pattern_is_the_convolution_with_a_gaussian(
    make_object: Callable[..., Any], frame: tuple[int, int], real: bool
) -> None:
    g, pair = in_box(make_object, frame, 3, real=real), FourierPair(frame, half=real)
    for width in (0.4, 0.9):
        expected = pair.crop(torch.tensor(seen_by_detector(g.numpy(), width))).float()
        found = blurred(pair, pair.forward(g).abs().square(), coherence(frame, torch.tensor(width)))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("lorentz", [0.0, 0.4, 1.0])
def test_the_point_spread_is_normalised_positive_and_of_the_given_half_width(lorentz: float) -> None:
    gamma = coherence((256, 256), torch.tensor(6.0), lorentz)
    assert float(gamma[0, 0]) == pytest.approx(1)
    psf = np.fft.fft2(gamma.numpy()).real / gamma.numel()
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert psf.min() > -1e-8
    half = np.interp(0.5, psf[0, 12::-1] / psf[0, 0], np.arange(12, -1, -1.0))
    assert half == pytest.approx(6 * math.sqrt(2 * math.log(2)), rel=0.02)


def test_no_blur_is_no_blur(make_object: Callable[..., Any]) -> None:
    pair = FourierPair((33, 40))
    values = pair.forward(make_object((33, 40), 3)).abs().square()
    for lorentz in (0.0, 1.0):
        found = blurred(pair, values, coherence(pair.shape, torch.tensor(0.0), lorentz))
        torch.testing.assert_close(found, values, rtol=1e-4, atol=1e-4)


@every_frame
@both_kinds
def test_the_modulus_is_scaled_by_the_root_of_measured_over_blurred(
    make_object: Callable[..., Any], frame: tuple[int, int], real: bool
) -> None:
    """Clark et al. 2012: ``G sqrt(I) / sqrt(|G|^2 * psf)``, and bad pixels stay."""
    g, pair = in_box(make_object, frame, 3, real=real), FourierPair(frame, half=real)
    spectrum = np.fft.fft2(g.numpy(), norm="ortho")
    measured = np.abs(np.fft.fft2(make_object(frame, 4, real=real).numpy(), norm="ortho"))
    bad = np.zeros(frame, bool)
    bad[2, 3] = bad[-2, -3] = True
    expected = spectrum * np.where(bad, 1, measured / np.sqrt(seen_by_detector(g.numpy(), 0.7)))
    ours = Constraints.build(
        pair,
        pair.crop(torch.tensor(measured, dtype=torch.float32)),
        pair.crop(torch.tensor(~bad, dtype=torch.float32)),
        (slice(8, 24), slice(8, 24)),
        None,
        nonnegative=False,
        gamma=coherence(frame, torch.tensor(0.7)),
    )
    plain, ours = ours, ours.blurring()
    assert float((plain.modulus(g) - ours.modulus(g)).abs().max()) > 0.01, "the blur changes nothing"
    found = np.fft.fft2(ours.modulus(g).numpy(), norm="ortho")
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


@both_kinds
@pytest.mark.parametrize("name", METHODS)
def test_the_object_is_a_fixed_point_of_its_blurred_pattern(
    make_problem: Callable[..., Any], name: str, real: bool
) -> None:
    method = PartlyCoherent(METHODS[name]())
    if not method.settles:
        pytest.skip("moves solutions")
    problem, truth = make_problem((33, 40), real=real, blur_px=0.8)
    sharp = problem.constraints(hold_out=False, one=0).blurring()
    seen = sharp.intensity(problem.pair.forward(truth[0, 0])).sqrt()
    blurry = Constraints.build(
        problem.pair, seen, torch.ones_like(seen), problem.box, problem.inside, nonnegative=real, gamma=sharp.gamma
    )
    g = truth[0, 0].clone()
    memory = method.init(g, blurry, Span(0, 5))
    for _ in range(5):
        method.step(g, blurry, memory)
    torch.testing.assert_close(g, truth[0, 0], rtol=0, atol=1e-4)
    coherent = Constraints.build(
        problem.pair, seen, torch.ones_like(seen), problem.box, problem.inside, nonnegative=real
    )
    assert float((coherent.modulus(truth[0, 0]) - truth[0, 0]).abs().max()) > 1e-3, "the blur changes nothing"


def blurry_pattern(real: bool, width: float, noise: float = 0.0) -> tuple[Measurement, Array]:
    """A pattern of a disc of 24 px in 72 x 72 pixels, as a partially coherent beam gives it."""
    rng = np.random.default_rng(2)
    y, x = np.ogrid[-1:1:24j, -1:1:24j]
    values = rng.uniform(size=(24, 24)) ** 2 * (y**2 + x**2 < 1)
    values = values if real else values * np.exp(1j * values)
    whole, support = np.zeros((72, 72), values.dtype), np.zeros((72, 72), bool)
    whole[24:48, 24:48] = values
    support[24:48, 24:48] = True
    intensity = seen_by_detector(whole, width)
    intensity = np.clip(intensity + 2 * noise * np.sqrt(intensity) * rng.normal(size=intensity.shape), 0, None)
    return Measurement(np.fft.fftshift(intensity).astype(np.float32), support=support), values


def config(*, real: bool = True, **coherence: Any) -> Config:
    return Config.from_preset(
        "fast",
        object="real" if real else "complex",
        coherence=coherence,
        refine={"enabled": False},
        compute={"threads": 1},
        initialisation={"n_starts": 6, "n_keep": 3, "short": "HIO:100", "long": "HIO:400 ER:50", "final": ""},
        keep_candidates=True,
    )


@pytest.mark.slow
@both_kinds
@pytest.mark.parametrize(("width", "off"), [(0.01, 0.12), (0.4, 0.08)])
def test_the_blur_is_found_from_the_pattern(real: bool, width: float, off: float) -> None:
    measurement, _ = blurry_pattern(real, width, noise=0.01)
    settings = config(real=real, fit=True)
    problem = as_problem(measurement, 0, settings, torch.device("cpu"))
    first, second = (beam.fitted_blur(problem, settings).blur_px for _ in range(2))
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)
    assert float(first[0]) == pytest.approx(width, abs=off)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::napari_i2ipr.errors.DataWarning")
def test_a_known_blur_is_taken_out_of_the_image_and_of_its_scores() -> None:
    measurement, truth = blurry_pattern(True, 0.25)
    sharp = reconstruct(measurement, config(blur_px=0.25), device="cpu")
    plain = reconstruct(measurement, config(), device="cpu")
    assert sharp.scores["blur_px"] == pytest.approx(0.25)
    assert "blur_px" not in plain.scores
    assert sharp.scores["r_factor_best"] < 0.5 * plain.scores["r_factor_best"]

    def error(found: Reconstruction) -> float:
        return min(relative_error(image, found.box, truth) for image in found.candidate_images)

    assert error(sharp) < 0.3 * error(plain)


def relative_error(image: Array, box: tuple[int, int, int, int], truth: Array) -> float:
    moved = register(image, box, truth, (72, 72))
    return float(np.linalg.norm(moved.bring(image, box) - truth) / np.linalg.norm(truth))


def test_refinement_is_skipped_and_says_so() -> None:
    assert Config().refines
    assert not Config(coherence={"blur_px": 0.5}).refines
    assert not Config(coherence={"fit": True}).refines
    assert not Config(object="complex").refines


def test_the_search_is_coherent_and_the_end_is_told_of_the_blur() -> None:
    def of(coherence: dict[str, Any], **initialisation: Any) -> tuple[str, str]:
        made = Config(coherence=coherence, initialisation={"long": "HIO:80 ER:20", **initialisation})
        init = made.initialisation
        long, final = made.coherence.ended(init.long_schedule, init.final_schedule)
        return schedule_text(long), schedule_text(final)

    assert of({}, final="ER:5") == ("HIO:80 ER:20", "ER:5")
    assert of({"blur_px": 0.3}, final="HIO:5 ER+acc:5") == ("HIO:80 ER:20", "HIO+pc:5 ER+acc+pc:5")
    assert of({"fit": True}, final="") == ("HIO:60 HIO+pc:20 ER+pc:20", "")
    assert of({"blur_px": 0.3}, final="ER+pc:5") == ("HIO:80 ER:20", "ER+pc:5")
