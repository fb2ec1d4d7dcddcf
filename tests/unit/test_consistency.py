"""Data consistency: its equation, its weights, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_i2ipr.physics.problem import Problem
from napari_i2ipr.refine.consistency import BETA, ITERATIONS, Consistency, Measured

MakeProblem = Callable[..., tuple[Problem, torch.Tensor]]

FRAMES = [(24, 24), (33, 40), (21, 19)]
EXTREMES = [-80.0, -3.0, 0.0, 3.0, 80.0]


def step(strength: tuple[float, float] = (-2.5, 4.0), relaxation: tuple[float, float] = (0.7, 0.0)) -> Consistency:
    """A data-consistency step of these parameters."""
    made = Consistency()
    made.load_state_dict({"strength": torch.tensor(strength), "relaxation": torch.tensor(relaxation)})
    return made


def irregular(frame: tuple[int, int]) -> torch.Tensor:
    """A support that does not fill its box."""
    support = torch.zeros(frame, dtype=torch.bool)
    support[frame[0] // 4 : frame[0] // 4 + frame[0] // 2, frame[1] // 4 : frame[1] // 4 + frame[1] // 2] = True
    support[: frame[0] // 3, : frame[1] // 2] = False
    support[frame[0] // 2, frame[1] // 2] = False
    return support


def beamstop(frame: tuple[int, int]) -> torch.Tensor:
    """Pixels around the zero frequency, and some to one side, that were not measured."""
    measured = torch.ones(frame, dtype=torch.bool)
    measured[:2, :2] = measured[-1:, :2] = measured[:2, -1:] = measured[-1:, -1:] = False
    measured[5, 3:9] = False
    return measured


def noisy(problem: Problem, truth: torch.Tensor, replicas: int = 3, noise: float = 0.3) -> torch.Tensor:
    """Noisy truths ``(B, R, h, w)`` in the box."""
    inner = truth[..., problem.box[0], problem.box[1]]
    shape = (inner.shape[0], replicas, *inner.shape[-2:])
    return inner + noise * torch.randn(shape, generator=torch.Generator().manual_seed(4))


def written_out(x: np.ndarray, made: Consistency, problem: Problem, time: float) -> np.ndarray:
    """The published equation for one pattern, on the full plane and in float64."""
    ny, nx = problem.pair.shape
    b = problem.pair.expand(problem.amplitude)[0, 0].double().numpy()
    measured = problem.pair.expand(problem.measured)[0, 0].numpy()
    support = problem.support.numpy()
    v = np.nan_to_num(float(problem.alpha[0])) ** 2 / 2
    ring = np.rint(np.hypot(np.fft.fftfreq(ny)[:, None], np.fft.fftfreq(nx)[None]) * min(ny, nx)).astype(int)
    half = np.arange(nx) <= nx // 2  # the kept half of the plane
    signal = np.zeros((ny, nx))
    for r in range(ring.max() + 1):
        there = (ring == r) & measured & half
        signal[ring == r] = np.mean(b[there] ** 2) if there.any() else 0
    signal = np.maximum(signal - v, 1e-6 * signal[:, half].mean())
    (p0, p1), (q0, q1) = made.strength.detach().tolist(), made.relaxation.detach().tolist()
    w = measured / (1 + np.exp(-(p0 + p1 * time))) * signal / (signal + np.exp(q0 + q1 * time) * v)

    def modulus(g: np.ndarray) -> np.ndarray:
        G = np.fft.fft2(g, norm="ortho")
        return np.fft.ifft2((w * b + (1 - w) * np.abs(G)) * np.exp(1j * np.angle(G)), norm="ortho").real

    def allowed(p: np.ndarray) -> np.ndarray:
        return support & (p >= 0) if problem.nonnegative else support

    g = np.zeros((ny, nx))
    g[problem.box] = x
    for _ in range(5):
        p = modulus(g)
        g = np.where(allowed(p), p, g - 0.9 * p)
    last = modulus(g)
    return np.where(allowed(last), last, 0)[problem.box]


def test_iterations_and_feedback_are_the_published_ones() -> None:
    assert (ITERATIONS, BETA) == (5, 0.9)


@pytest.mark.parametrize(
    "kind", ["plain", "noise-free", "irregular support", "signed", "unmeasured pixels", "other parameters"]
)
@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_the_published_equation(make_problem: MakeProblem, frame: tuple[int, int], kind: str) -> None:
    options: dict[str, Any] = {
        "noise-free": {"alpha": 0.0},
        "irregular support": {"support": irregular(frame)},
        "signed": {"nonnegative": False},
        "unmeasured pixels": {"measured": beamstop(frame)},
    }.get(kind, {})
    problem, truth = make_problem(frame, **{"alpha": 0.2, **options})
    made = step((1.0, -2.0), (-1.0, 3.0)) if kind == "other parameters" else Consistency()
    start, measured = noisy(problem, truth), Measured.of(problem)
    for time in (1.0, 0.25):
        with torch.no_grad():
            found = made(start, measured, time)
        for one, image in zip(found[0].numpy(), start[0].double().numpy(), strict=True):
            np.testing.assert_allclose(one, written_out(image, made, problem, time), rtol=0, atol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 5.0])
def test_the_weight_is_between_0_and_1_whatever_is_learned(make_problem: MakeProblem, alpha: float) -> None:
    measured = Measured.of(make_problem((21, 24), alpha=alpha, measured=beamstop((21, 24)))[0])
    for strength in EXTREMES:
        for relaxation in EXTREMES:
            for time in (1.0, 0.5, 0.01):
                with torch.no_grad():
                    weight = step((strength, -strength / 2), (relaxation, 0.0)).weight(measured, time)
                assert weight.shape == measured.amplitude.shape
                assert bool(((weight >= 0) & (weight <= 1)).all())
                assert not weight[measured.measured == 0].any()


@torch.no_grad()
def test_the_weight_falls_with_noise_and_towards_the_end(make_problem: MakeProblem) -> None:
    made, known = Consistency(), Measured.of(make_problem((24, 24), alpha=0.3)[0])
    early, late = (made.weight(known, time) for time in (1.0, 0.25))
    assert bool((late < early).all())
    noisier = replace(known, variance=4 * known.variance)
    assert bool((made.weight(noisier, 1.0) < early).all())
    weak, strong = known.signal.flatten().argmin(), known.signal.flatten().argmax()
    assert float(early.flatten()[weak]) < float(early.flatten()[strong])


def test_without_noise_all_measured_frequencies_count_the_same(make_problem: MakeProblem) -> None:
    problem, _ = make_problem((24, 21))
    for alpha in (torch.zeros(1), torch.full((1,), torch.nan)):
        weight = Consistency().weight(Measured.of(replace(problem, alpha=alpha)), 1.0)
        torch.testing.assert_close(weight, torch.sigmoid(torch.tensor(1.5)).expand_as(weight))


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_pixels_that_were_not_measured_stay_free(make_problem: MakeProblem, frame: tuple[int, int]) -> None:
    problem, truth = make_problem(frame, alpha=0.05, measured=beamstop(frame))
    measured, start = Measured.of(problem), noisy(problem, truth)
    made = step((20.0, 0.0), (-20.0, 0.0))
    with torch.no_grad():
        expected = made(start, measured, 1.0)
        garbage = torch.where(measured.measured > 0, measured.amplitude, 1e6)
        torch.testing.assert_close(made(start, replace(measured, amplitude=garbage), 1.0), expected, rtol=0, atol=0)
        filled = make_problem(frame, alpha=0.05)[0]
        assert not torch.allclose(made(start, Measured.of(filled), 1.0), expected, atol=1e-3)


def test_with_nothing_measured_an_image_within_the_constraints_stays(make_problem: MakeProblem) -> None:
    problem, truth = make_problem((33, 24), alpha=0.05, support=irregular((33, 24)))
    nothing = replace(problem, measured=torch.zeros_like(problem.measured))
    start = problem.constrain(noisy(problem, truth))
    found = step((20.0, 0.0))(start, Measured.of(nothing), 1.0)
    torch.testing.assert_close(found, start, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_a_stronger_step_brings_the_modulus_nearer(make_problem: MakeProblem, frame: tuple[int, int]) -> None:
    problem, truth = make_problem(frame)
    measured, start = Measured.of(problem), problem.constrain(noisy(problem, truth, replicas=1))
    with torch.no_grad():
        found = [step((strength, 0.0))(start, measured, 1.0) for strength in (20.0, 0.0, -2.0)]
    chi = [problem.agreement(images[0, 0])[1] for images in (*found, start)]
    assert chi == sorted(chi)
    assert chi[0] < 0.5 * chi[3]


def test_the_truth_stays(make_problem: MakeProblem) -> None:
    problem, truth = make_problem((33, 40), support=irregular((33, 40)))
    inner = truth[..., problem.box[0], problem.box[1]]
    torch.testing.assert_close(Consistency()(inner, Measured.of(problem), 1.0), inner, rtol=0, atol=1e-4)


@pytest.mark.parametrize("nonnegative", [True, False])
def test_the_result_is_within_the_constraints(make_problem: MakeProblem, nonnegative: bool) -> None:
    problem, truth = make_problem((24, 33), alpha=0.1, support=irregular((24, 33)), nonnegative=nonnegative)
    found = Consistency()(noisy(problem, truth, noise=1.0), Measured.of(problem), 1.0)
    assert not found[..., ~problem.support[problem.box]].any()
    assert bool((found >= 0).all()) is nonnegative


@pytest.mark.parametrize("kind", ["noisy", "no mean", "constant", "one pixel"])
def test_gradients_are_finite_where_the_modulus_is_zero(make_problem: MakeProblem, kind: str) -> None:
    problem, truth = make_problem((24, 24), alpha=0.1, measured=beamstop((24, 24)))
    start = noisy(problem, truth)
    if kind == "no mean":
        start = start - start.mean((-2, -1), keepdim=True)
    elif kind == "constant":
        start = torch.ones_like(start)
    elif kind == "one pixel":
        start = torch.zeros_like(start)
        start[..., 3, 4] = 1
    start.requires_grad_()
    made = Consistency()
    made(start, Measured.of(problem), 0.7).square().sum().backward()
    assert start.grad is not None
    assert bool(start.grad.isfinite().all())
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all() & parameter.grad.all())


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_a_batch_of_two_is_two_batches_of_one(make_problem: MakeProblem, frame: tuple[int, int]) -> None:
    problem, truth = make_problem(frame, batch=2, alpha=0.1)
    problem = replace(problem, alpha=torch.tensor([0.02, 0.3]))
    start = noisy(problem, truth)
    with torch.no_grad():
        together = Consistency()(start, Measured.of(problem), 0.75)
        for b in range(2):
            alone = Consistency()(start[b : b + 1], Measured.of(problem.select(b)), 0.75)
            torch.testing.assert_close(together[b : b + 1], alone, rtol=0, atol=1e-5)
            for replica in range(start.shape[1]):
                one = start[b : b + 1, replica : replica + 1]
                single = Consistency()(one, Measured.of(problem.select(b)), 0.75)
                torch.testing.assert_close(single[0, 0], alone[0, replica], rtol=0, atol=1e-5)


def test_to_another_device_and_back(make_problem: MakeProblem) -> None:
    measured = Measured.of(make_problem((24, 20), alpha=0.1, support=irregular((24, 20)))[0])
    moved = measured.to(torch.device("meta"))
    for name in ("amplitude", "measured", "signal", "variance", "inside"):
        assert getattr(moved, name).device.type == "meta"
    assert (moved.pair, moved.box, moved.nonnegative) == (measured.pair, measured.box, measured.nonnegative)
    assert measured.amplitude.device.type == "cpu"
