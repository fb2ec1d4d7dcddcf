"""Complex objects whose phases are limited: the projection, and what methods make of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.physics.problem import Problem
from napari_i2ipr.physics.projections import in_wedge
from napari_i2ipr.pipeline import reconstruct
from napari_i2ipr.solvers.hio import HIO

parts = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)


@settings(deadline=None, max_examples=200)
@given(parts, parts, st.floats(0.05, 3.1))
def test_no_allowed_value_is_nearer_than_the_projection(real: float, imag: float, limit: float) -> None:
    value = complex(real, imag)
    found = complex(in_wedge(torch.tensor([value]), limit)[0])
    assert abs(math.atan2(found.imag, found.real)) <= limit + 1e-5 or abs(found) < 1e-6
    phases = np.linspace(-limit, limit, 721)
    moduli = np.maximum((value * np.exp(-1j * phases)).real, 0)
    nearest = np.abs(value - moduli * np.exp(1j * phases)).min()
    assert abs(value - found) <= nearest + 1e-5


def test_a_right_angle_keeps_the_real_part_positive() -> None:
    values = torch.tensor([1 + 2j, -1 + 2j, -1 - 0.5j, 2 - 1j, 0j])
    expected = torch.complex(values.real.clamp(min=0), values.imag)
    torch.testing.assert_close(in_wedge(values, math.pi / 2), expected, rtol=0, atol=1e-6)


def limited(make_object: Callable[..., Any], limit: float | None) -> Problem:
    support = torch.zeros(33, 40, dtype=torch.bool)
    support[8:24, 10:30] = True
    support[8:12, 10:15] = False
    intensity = torch.fft.fft2(make_object((1, 33, 40), real=False) * support, norm="ortho").abs().square()
    every = torch.ones(1, 33, 40, dtype=torch.bool)
    return Problem.build(intensity, every, support, real=False, max_phase=limit)


def test_hio_feeds_back_where_the_phase_is_not_allowed(make_object: Callable[..., Any]) -> None:
    problem = limited(make_object, 0.6)
    constraints = problem.constraints(hold_out=False, one=0)
    g = make_object((33, 40), 7, real=False) * torch.exp(-1j * torch.tensor(1.0))
    p = constraints.modulus(g)
    good = problem.support & (p.angle().abs() <= 0.6)
    expected = torch.where(good, p, g - 0.9 * p)
    HIO(0.9).step(g, constraints, None)
    assert 10 < int(good.sum()) < int(problem.support.sum()) - 10
    torch.testing.assert_close(g, expected)


def test_what_is_cropped_and_constrained_has_allowed_phases(make_object: Callable[..., Any]) -> None:
    problem = limited(make_object, 0.6)
    constraints = problem.constraints(hold_out=False, one=0)
    g = make_object((2, 3, 33, 40), 7, real=False) * torch.exp(-1j * torch.tensor(1.0))
    for image in (constraints.crop(g), problem.constrain(g[..., problem.box[0], problem.box[1]])):
        assert float(image[image.abs() > 1e-4].angle().abs().max()) <= 0.6 + 1e-5
        assert not image[..., ~problem.support[problem.box]].any()
    torch.testing.assert_close(constraints.object(constraints.object(g)), constraints.object(g))


def test_a_real_object_has_no_phase_to_limit(make_problem: Callable[..., Any]) -> None:
    problem, _ = make_problem((33, 40), max_phase=0.5)
    assert problem.max_phase is None


@pytest.mark.filterwarnings("ignore::napari_i2ipr.errors.DataWarning")
def test_a_limit_that_holds_leads_to_the_object_and_one_that_does_not_shows_in_the_fit() -> None:
    rng = np.random.default_rng(4)
    truth = rng.uniform(size=(24, 24)) * np.exp(1j * rng.uniform(-0.5, 0.5, size=(24, 24)))
    frame = np.zeros((48, 48), complex)
    frame[12:36, 12:36] = truth
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(frame, norm="ortho"))) ** 2
    base = Config.from_preset(
        "fast",
        object="complex",
        initialisation={"short": "DM:300", "long": "DM:300 ER:30", "final": "", "n_starts": 2, "n_keep": 2},
        compute={"threads": 1},
        keep_candidates=True,
    )
    right, wrong = (
        reconstruct(Measurement(intensity.astype(np.float32)), base.replace(max_phase_deg=limit), device="cpu")
        for limit in (30.0, 10.0)
    )
    found = []
    for image in right.candidate_images:
        for one in (image, np.conj(image[::-1, ::-1])):
            overlap = np.vdot(one, truth)
            found.append(np.linalg.norm(one * overlap / abs(overlap) - truth) / np.linalg.norm(truth))
    assert min(found) < 0.01
    assert right.scores["r_factor_best"] < 0.01
    assert wrong.scores["r_factor_best"] > 0.05
    strong = np.abs(right.image) > 0.01
    assert np.degrees(np.abs(np.angle(right.image[strong])).max()) <= 30.01
