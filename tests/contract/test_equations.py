"""Every method against its published equation, written out in double precision with full transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from napari_i2ipr.physics.fourier import FourierPair
from napari_i2ipr.physics.projections import Constraints
from napari_i2ipr.solvers import METHODS, Method
from napari_i2ipr.solvers.acceleration import Accelerated, Averaged
from napari_i2ipr.solvers.dm import DM
from napari_i2ipr.solvers.er import ER
from napari_i2ipr.solvers.hio import HIO
from napari_i2ipr.solvers.raar import RAAR

Array = np.ndarray[Any, Any]


class Numbers:
    """A few numbers: a 7 x 10 frame, an irregular support, one pair of bad pixels, a random start."""

    shape = (7, 10)

    def __init__(self, *, real: bool, nonnegative: bool) -> None:
        rng = np.random.default_rng(5)
        self.real, self.nonnegative = real, nonnegative
        self.start = rng.normal(size=self.shape).astype(np.float32)
        truth = rng.uniform(size=self.shape)
        if not real:
            self.start = (self.start + 1j * rng.normal(size=self.shape)).astype(np.complex64)
            truth = truth * np.exp(1j * rng.uniform(0, 6, self.shape))
        self.support = np.zeros(self.shape, bool)
        self.support[2:6, 3:8] = True
        self.support[2, 3] = False
        self.amplitude = np.abs(np.fft.fft2(truth * self.support, norm="ortho"))
        self.good = np.ones(self.shape, bool)
        self.good[1, 2] = self.good[-1, -2] = False

    def p_m(self, g: Array) -> Array:
        spectrum = np.fft.fft2(g, norm="ortho")
        replaced = np.where(self.good, self.amplitude * np.exp(1j * np.angle(spectrum)), spectrum)
        result = np.fft.ifft2(replaced, norm="ortho")
        return result.real if self.real else result

    def allowed(self, g: Array) -> Array:
        return self.support & (g >= 0) if self.nonnegative else self.support

    def p_s(self, g: Array) -> Array:
        return np.where(self.allowed(g), g, 0)

    def reflect(self, project: Callable[[Array], Array], g: Array) -> Array:
        return 2 * project(g) - g

    def constraints(self) -> Constraints:
        pair = FourierPair(self.shape, half=self.real)
        amplitude = pair.crop(torch.tensor(self.amplitude, dtype=torch.float32))
        weight = pair.crop(torch.tensor(self.good, dtype=torch.float32))
        box = (slice(2, 6), slice(3, 8))
        inside = torch.tensor(self.support[box])
        return Constraints.build(pair, amplitude, weight, box, inside, nonnegative=self.nonnegative)


@pytest.fixture(params=["nonnegative", "signed", "complex"])
def numbers(request: pytest.FixtureRequest) -> Numbers:
    return Numbers(real=request.param != "complex", nonnegative=request.param == "nonnegative")


def er(n: Numbers, g: Array) -> Array:
    """Fienup 1982, eq. 14."""
    return n.p_s(n.p_m(g))


def hio(n: Numbers, g: Array, beta: float) -> Array:
    """Fienup 1982, eq. 44."""
    p = n.p_m(g)
    return np.where(n.allowed(p), p, g - beta * p)


def raar(n: Numbers, g: Array, beta: float) -> Array:
    """Luke 2005, eq. 3.1."""
    both = n.reflect(n.p_s, n.reflect(n.p_m, g))
    return beta / 2 * (both + g) + (1 - beta) * n.p_m(g)


def dm(n: Numbers, g: Array, beta: float) -> Array:
    """Elser 2003, eqs. 8-10, with gamma_S = -1/beta and gamma_M = 1/beta."""
    f_m = (1 + 1 / beta) * n.p_m(g) - 1 / beta * g
    f_s = (1 - 1 / beta) * n.p_s(g) + 1 / beta * g
    return g + beta * (n.p_s(f_m) - n.p_m(f_s))


EQUATIONS: dict[str, tuple[Method, Callable[[Numbers, Array], Array]]] = {
    "ER": (ER(), er),
    "HIO": (HIO(beta=0.9), lambda n, g: hio(n, g, 0.9)),
    "HIO 0.7": (HIO(beta=0.7), lambda n, g: hio(n, g, 0.7)),
    "RAAR": (RAAR(beta=0.9), lambda n, g: raar(n, g, 0.9)),
    "RAAR 0.6": (RAAR(beta=0.6), lambda n, g: raar(n, g, 0.6)),
    "DM": (DM(beta=0.9), lambda n, g: dm(n, g, 0.9)),
    "DM -0.8": (DM(beta=-0.8), lambda n, g: dm(n, g, -0.8)),
}


def iterates(numbers: Numbers, method: Method, steps: int) -> Iterator[tuple[Array, Array]]:
    """The package's iterate and estimate after each step."""
    g, constraints = torch.tensor(numbers.start), numbers.constraints()
    memory = method.init(g, constraints)
    for _ in range(steps):
        method.step(g, constraints, memory)
        yield g.numpy().copy(), method.estimate(g, constraints, memory).numpy()


def assert_same(ours: Array, expected: Array) -> None:
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)


def test_every_method_has_its_equation_here() -> None:
    assert {type(method) for method, _ in EQUATIONS.values()} == set(METHODS.values())


@pytest.mark.parametrize("name", EQUATIONS)
def test_steps_follow_the_published_equation(numbers: Numbers, name: str) -> None:
    method, equation = EQUATIONS[name]
    g = numbers.start.astype(np.float64 if numbers.real else np.complex128)
    for ours, _ in iterates(numbers, method, 4):
        g = equation(numbers, g)
        assert_same(ours, g)


@pytest.mark.parametrize("method", [ER(), HIO(), RAAR()], ids=["ER", "HIO", "RAAR"])
def test_the_estimate_is_the_projected_iterate(numbers: Numbers, method: Method) -> None:
    for g, estimate in iterates(numbers, method, 3):
        wide = g.astype(np.float64 if numbers.real else np.complex128)
        assert_same(estimate, numbers.p_s(numbers.p_m(wide))[2:6, 3:8])


def test_the_estimate_of_the_difference_map_is_one_side_of_its_gap(numbers: Numbers) -> None:
    for g, estimate in iterates(numbers, DM(beta=0.9), 3):
        f_m = (1 + 1 / 0.9) * numbers.p_m(g) - 1 / 0.9 * g
        assert_same(estimate, numbers.p_s(f_m)[2:6, 3:8])


@pytest.mark.parametrize(("gamma", "every"), [(0.6, 4), (1.0, 2), (0.3, 1)])
def test_acceleration_follows_the_equation_of_the_paper(numbers: Numbers, gamma: float, every: int) -> None:
    g = numbers.start.astype(np.float64 if numbers.real else np.complex128)
    last = None
    for step, (ours, _) in enumerate(iterates(numbers, Accelerated(ER(), gamma, every), 9), start=1):
        projected = numbers.p_m(g)
        g = er(numbers, g)
        if step % every == 0:
            centre = (projected + g) / 2
            if last is None:
                last, g = centre, centre
            else:
                drift = (centre - last) / math.sqrt(np.sum(np.abs(centre - last) ** 2))
                length = math.sqrt(np.sum(np.abs(projected - g) ** 2))
                last, g = centre, centre + 0.5 * gamma * length * drift
        assert_same(ours, g)


def test_averaging_is_the_mean_of_the_projected_iterates(numbers: Numbers) -> None:
    g = numbers.start.astype(np.float64 if numbers.real else np.complex128)
    projected = []
    for ours, estimate in iterates(numbers, Averaged(HIO(beta=0.9)), 5):
        projected.append(numbers.p_s(numbers.p_m(g)))
        g = hio(numbers, g, 0.9)
        assert_same(ours, g)
        assert_same(estimate, np.mean(projected, axis=0)[2:6, 3:8])


def test_the_residual_of_error_reduction_never_grows(numbers: Numbers) -> None:
    misfit = []
    for g, _ in iterates(numbers, ER(), 30):
        spectrum = np.abs(np.fft.fft2(g.astype(np.complex128), norm="ortho"))
        misfit.append(np.linalg.norm((spectrum - numbers.amplitude)[numbers.good]))
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(misfit))
    assert misfit[-1] < misfit[0]
