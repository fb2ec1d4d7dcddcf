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
from napari_i2ipr.solvers._base import Span
from napari_i2ipr.solvers.acceleration import Accelerated, Averaged
from napari_i2ipr.solvers.cf import CF
from napari_i2ipr.solvers.detwin import Detwinned
from napari_i2ipr.solvers.dm import DM
from napari_i2ipr.solvers.er import ER
from napari_i2ipr.solvers.hio import HIO
from napari_i2ipr.solvers.ml import ML
from napari_i2ipr.solvers.oss import OSS
from napari_i2ipr.solvers.raar import RAAR
from napari_i2ipr.solvers.wf import WF, Spectral

Array = np.ndarray[Any, Any]


class Numbers:
    """A few numbers: a 7 x 10 frame, an irregular support, one pair of bad pixels, a random start."""

    shape = (7, 10)

    def __init__(self, *, real: bool, nonnegative: bool = False, max_phase: float | None = None) -> None:
        self.max_phase = max_phase
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
        if self.max_phase is not None:
            return self.support & (np.abs(np.angle(g)) <= self.max_phase)
        return self.support & (g >= 0) if self.nonnegative else self.support

    def p_s(self, g: Array) -> Array:
        if self.max_phase is None:
            return np.where(self.allowed(g), g, 0)
        edge = np.exp(1j * self.max_phase * np.sign(g.imag))
        straight = edge * np.maximum((g * edge.conj()).real, 0)
        return np.where(self.allowed(g), g, np.where(self.support, straight, 0))

    def intensity(self) -> Array:
        return np.where(self.good, self.amplitude**2, 0)

    def smoothed(self, g: Array, width: float) -> Array:
        """What lies outside the support, through a Gaussian of standard deviation `width` in frequency."""
        fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in self.shape), indexing="ij")
        window = np.exp(-(fy**2 + fx**2) / (2 * width**2))
        filtered = np.fft.ifft2(window * np.fft.fft2(np.where(self.support, 0, g)))
        return np.where(self.support, g, filtered.real if self.real else filtered)

    def r_factor(self, image: Array) -> float:
        misfit = np.abs(np.abs(np.fft.fft2(image, norm="ortho")) - self.amplitude)
        return float(misfit[self.good].sum() / self.amplitude[self.good].sum())

    def reflect(self, project: Callable[[Array], Array], g: Array) -> Array:
        return 2 * project(g) - g

    def constraints(self) -> Constraints:
        pair = FourierPair(self.shape, half=self.real)
        amplitude = pair.crop(torch.tensor(self.amplitude, dtype=torch.float32))
        weight = pair.crop(torch.tensor(self.good, dtype=torch.float32))
        box = (slice(2, 6), slice(3, 8))
        inside = torch.tensor(self.support[box])
        return Constraints.build(
            pair, amplitude, weight, box, inside, nonnegative=self.nonnegative, max_phase=self.max_phase
        )


KINDS: dict[str, dict[str, Any]] = {
    "nonnegative": {"real": True, "nonnegative": True},
    "signed": {"real": True},
    "complex": {"real": False},
    "limited": {"real": False, "max_phase": 0.8},
}


free_phase = pytest.mark.parametrize("numbers", ["nonnegative", "signed", "complex"], indirect=True)


@pytest.fixture(params=KINDS)
def numbers(request: pytest.FixtureRequest) -> Numbers:
    return Numbers(**KINDS[request.param])


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


def oss(n: Numbers, g: Array, beta: float) -> Array:
    """Rodriguez et al. 2013 with the widest filter, as wide as the frame."""
    return n.smoothed(hio(n, g, beta), 1.0)


def cf(n: Numbers, g: Array, delta: float, beta: float) -> Array:
    """Oszlanyi & Suto 2004; by the modulus (2007) where values may be negative; HIO outside the support."""
    p = n.p_m(g)
    level = p if n.nonnegative else np.abs(p)
    return np.where(n.support, np.where(level >= delta * p.std(), p, -p), g - beta * p)


def wf(n: Numbers, g: Array, mu: float) -> Array:
    """Candes, Li & Soltanolkotabi 2015: z - mu/I_max grad f(z), then the support."""
    spectrum = np.fft.fft2(g, norm="ortho")
    gradient = np.fft.ifft2(np.where(n.good, np.abs(spectrum) ** 2 - n.intensity(), 0) * spectrum, norm="ortho")
    gradient = gradient.real if n.real else gradient
    return n.p_s(g - mu * gradient / n.intensity().max())


def spectral(n: Numbers, g: Array) -> Array:
    """The same, Algorithm 1: v <- A^H diag(y) A v, of the object's energy."""
    v = np.fft.ifft2(n.intensity() * np.fft.fft2(g, norm="ortho"), norm="ortho") * n.support
    v = v.real * (1 if v.real.sum() >= 0 else -1) if n.real else v
    return v * np.sqrt(n.intensity().sum() / np.sum(np.abs(v) ** 2))


EQUATIONS: dict[str, tuple[Method, Callable[[Numbers, Array], Array]]] = {
    "ER": (ER(), er),
    "HIO": (HIO(beta=0.9), lambda n, g: hio(n, g, 0.9)),
    "HIO 0.7": (HIO(beta=0.7), lambda n, g: hio(n, g, 0.7)),
    "RAAR": (RAAR(beta=0.9), lambda n, g: raar(n, g, 0.9)),
    "RAAR 0.6": (RAAR(beta=0.6), lambda n, g: raar(n, g, 0.6)),
    "DM": (DM(beta=0.9), lambda n, g: dm(n, g, 0.9)),
    "DM -0.8": (DM(beta=-0.8), lambda n, g: dm(n, g, -0.8)),
    "OSS": (OSS(beta=0.9), lambda n, g: oss(n, g, 0.9)),
    "CF": (CF(delta=0.3), lambda n, g: cf(n, g, 0.3, 0.9)),
    "CF 1": (CF(delta=1.0, beta=0.7), lambda n, g: cf(n, g, 1.0, 0.7)),
    "WF": (WF(mu_max=0.1, tau0=1e-3), lambda n, g: wf(n, g, 0.1)),
    "SPECTRAL": (Spectral(), spectral),
}
"""Steps that depend on the iterate alone; `ML`, which remembers, has tests of its own below."""


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
    assert {type(method) for method, _ in EQUATIONS.values()} | {ML} == set(METHODS.values())


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


@pytest.mark.parametrize(("total", "first"), [(9, 0), (18, 5), (8, 0)])
def test_oss_narrows_its_filter_and_starts_each_part_from_the_best_of_the_one_before(
    numbers: Numbers, total: int, first: int
) -> None:
    """Three parts, widths from N to 1/N along a frame of 10 pixels."""
    method, constraints = OSS(beta=0.8, stages=3), numbers.constraints()
    g = torch.tensor(numbers.start)
    memory = method.init(g, constraints, Span(first, total))
    expected = numbers.start.astype(np.float64 if numbers.real else np.complex128)
    widths, best, residual = np.linspace(1, 0.01, 3), expected, np.inf
    for step in range(first, total):
        part = step * 3 // total
        image = numbers.p_s(numbers.p_m(expected))
        expected = numbers.smoothed(hio(numbers, expected, 0.8), widths[part])
        if (step + 1) % 2 == 0 and numbers.r_factor(image) < residual:
            best, residual = expected, numbers.r_factor(image)
        if (step + 1) * 3 // total > part and step + 1 < total and np.isfinite(residual):
            expected, residual = best, np.inf
        method.step(g, constraints, memory)
        assert_same(g.numpy(), expected)


def test_the_narrowest_filter_leaves_one_value_outside(numbers: Numbers) -> None:
    method, constraints = OSS(stages=2), numbers.constraints()
    g = torch.tensor(numbers.start)
    memory = method.init(g, constraints, Span(5, 10))
    method.step(g, constraints, memory)
    outside = g.numpy()[~numbers.support]
    assert np.abs(outside - outside.mean()).max() < 1e-5
    assert abs(outside.mean()) > 1e-3


def test_the_steps_of_wirtinger_flow_grow_along_the_whole_stage(numbers: Numbers) -> None:
    """mu_t = min(1 - exp(-t / tau0), mu_max), t counted from the beginning of a stage that was cut."""
    method, constraints = WF(mu_max=0.1, tau0=30.0), numbers.constraints()
    for first in (0, 2):
        g = torch.tensor(numbers.start)
        memory = method.init(g, constraints, Span(first, 9))
        expected = numbers.start.astype(np.float64 if numbers.real else np.complex128)
        for t in range(first + 1, 7):
            expected = wf(numbers, expected, min(1 - math.exp(-t / 30), 0.1))
            method.step(g, constraints, memory)
            assert_same(g.numpy(), expected)


def test_detwin_is_the_method_with_the_first_half_of_the_support(numbers: Numbers) -> None:
    whole = numbers.support.copy()
    for axis, half in ((0, np.s_[4:]), (1, np.s_[:, 5:])):
        numbers.support = whole.copy()
        method, constraints = Detwinned(HIO(beta=0.9), axis), numbers.constraints()
        g = torch.tensor(numbers.start)
        memory = method.init(g, constraints)
        numbers.support[half] = False
        expected = numbers.start.astype(np.float64 if numbers.real else np.complex128)
        for _ in range(4):
            expected = hio(numbers, expected, 0.9)
            method.step(g, constraints, memory)
            assert_same(g.numpy(), expected)
        numbers.support = whole
        assert_same(method.estimate(g, constraints, memory).numpy(), numbers.p_s(numbers.p_m(expected))[2:6, 3:8])


def likelihood(n: Numbers, g: Array, background: float) -> float:
    """Thibault & Guizar-Sicairos 2012: sum of n - I log n over the measured pixels, b added to both."""
    b = background * n.intensity()[n.good].mean()
    model = np.abs(np.fft.fft2(g, norm="ortho")) ** 2 + b
    return float(np.sum((model - (n.intensity() + b) * np.log(model))[n.good]))


def downhill(n: Numbers, g: Array, background: float) -> Array:
    """What it goes down by, within the support; for non-negative objects without what would leave 0 downwards."""
    b = background * n.intensity()[n.good].mean()
    spectrum = np.fft.fft2(g, norm="ortho")
    ratio = (n.intensity() + b) / (np.abs(spectrum) ** 2 + b)
    step = -np.fft.ifft2(np.where(n.good, 1 - ratio, 0) * spectrum, norm="ortho") * n.support
    step = step.real if n.real else step
    return np.where((g <= 0) & (step < 0), 0, step) if n.nonnegative else step


def test_the_gradient_is_that_of_the_likelihood(numbers: Numbers) -> None:
    """Written out here, checked by differences: what the next test compares with is right."""
    g = numbers.p_s(np.abs(numbers.start) if numbers.real else numbers.start).astype(complex)
    g[numbers.support] += 0.1
    step = downhill(numbers, g, 1e-2)
    for direction in (1.0, 1.0j)[: 1 if numbers.real else 2]:
        for y, x in np.argwhere(numbers.support)[::5]:
            ahead, behind = g.copy(), g.copy()
            ahead[y, x] += 1e-6 * direction
            behind[y, x] -= 1e-6 * direction
            slope = (likelihood(numbers, ahead, 1e-2) - likelihood(numbers, behind, 1e-2)) / 2e-6
            assert slope == pytest.approx(-2 * (step[y, x] * np.conj(direction)).real, rel=1e-4, abs=1e-6)


@free_phase
def test_likelihood_goes_along_conjugate_directions_to_the_minimum_on_each(numbers: Numbers) -> None:
    method, constraints = ML(background=1e-2), numbers.constraints()
    g = torch.tensor(np.abs(numbers.start) if numbers.real else numbers.start)
    memory = method.init(g, constraints)
    at = numbers.p_s(g.numpy().astype(np.float64 if numbers.real else np.complex128))
    before: tuple[Array, Array] | None = None
    for _ in range(3):
        step = direction = downhill(numbers, at, 1e-2)
        if before is not None:
            old, last = before
            share = np.vdot(step, step - old).real / np.vdot(old, old).real
            direction = step + max(share, 0) * last
            if numbers.nonnegative:
                direction = np.where((at <= 0) & (direction < 0), 0, direction)
        method.step(g, constraints, memory)
        assert memory.direction is not None
        np.testing.assert_allclose(memory.direction.numpy(), direction, atol=2e-4 * np.abs(direction).max())
        length = float(memory.length)
        lengths = length * np.linspace(0.8, 1.2, 41)
        losses = [likelihood(numbers, at + t * direction, 1e-2) for t in lengths]
        assert abs(lengths[int(np.argmin(losses))] / length - 1) <= 0.02
        at = numbers.p_s(at + length * direction)
        assert_same(g.numpy(), at)
        before = step, direction


def test_the_likelihood_never_falls_and_ends_where_nothing_leads_down(numbers: Numbers) -> None:
    rng = np.random.default_rng(3)
    numbers.amplitude = np.sqrt(rng.poisson(9 * numbers.amplitude**2) / 9)  # no object fits these counts
    if numbers.real:
        mirrored = np.roll(numbers.amplitude[::-1, ::-1], (1, 1), (0, 1))
        numbers.amplitude = np.sqrt((numbers.amplitude**2 + mirrored**2) / 2)
    method, constraints = ML(background=1e-3), numbers.constraints()
    g = torch.tensor(np.abs(numbers.start) if numbers.real else numbers.start)
    memory = method.init(g, constraints)
    losses = []
    for _ in range(300):
        method.step(g, constraints, memory)
        image = np.zeros(numbers.shape, numbers.start.dtype)
        image[2:6, 3:8] = method.estimate(g, constraints, memory).numpy()
        losses.append(likelihood(numbers, image.astype(np.complex128), 1e-3))
    assert all(later <= earlier + 1e-4 for earlier, later in pairwise(losses))
    assert losses[-1] < losses[0] - 1
    last = image.astype(np.float64 if numbers.real else np.complex128)
    numbers.nonnegative, nonnegative = False, numbers.nonnegative
    ahead = last + 1e-3 * downhill(numbers, last, 1e-3)
    numbers.nonnegative = nonnegative
    assert np.linalg.norm(numbers.p_s(ahead) - last) < 1e-3 * 0.1


def test_charge_flipping_finds_points_without_any_support() -> None:
    """The published method, for what it was made: sixteen points somewhere in a frame, nothing else known."""
    rng = np.random.default_rng(0)
    truth = np.zeros((64, 64))
    truth[rng.integers(0, 64, 16), rng.integers(0, 64, 16)] = rng.uniform(0.5, 1, 16)
    pair = FourierPair((64, 64))
    amplitude = pair.forward(torch.tensor(truth, dtype=torch.float32)).abs()
    whole = Constraints.build(
        pair, amplitude, torch.ones_like(amplitude), (slice(0, 64), slice(0, 64)), None, nonnegative=True
    )

    def likeness(method: Method) -> float:
        g = torch.tensor(np.random.default_rng(0).normal(size=(64, 64)), dtype=torch.float32)
        memory = method.init(g, whole)
        for _ in range(400):
            method.step(g, whole, memory)
        spectrum = np.conj(np.fft.fft2(method.estimate(g, whole, memory).numpy()))
        both = [np.fft.ifft2(np.fft.fft2(one) * spectrum).real.max() for one in (truth, truth[::-1, ::-1])]
        return float(max(both) / np.linalg.norm(truth) ** 2)

    assert likeness(CF(delta=0.2)) > 0.99
    assert likeness(ER()) < 0.9
