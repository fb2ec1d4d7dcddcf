"""The Fourier pair: unitary, invertible, the same as the library's two-dimensional transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_i2ipr.physics.fourier import FourierPair, dense, like, ring_mean, rings

FRAMES = [(33, 40), (40, 33), (21, 19), (18, 18), (1, 5), (4, 1)]

every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)
both_kinds = pytest.mark.parametrize("half", [True, False], ids=["real", "complex"])
every_lead = pytest.mark.parametrize("lead", [(), (3,), (2, 3)], ids=["one", "stack", "batch"])


@every_frame
@both_kinds
@every_lead
def test_forward_is_the_unitary_transform(
    make_object: Callable[..., Any], frame: tuple[int, int], half: bool, lead: tuple[int, ...]
) -> None:
    pair = FourierPair(frame, half)
    x = make_object((*lead, *frame), real=half)
    spectrum = pair.forward(x)
    assert spectrum.shape == (*lead, *pair.spectrum_shape)
    assert (x.dtype, spectrum.dtype) == (pair.dtype, torch.complex64)
    torch.testing.assert_close(spectrum, pair.crop(torch.fft.fft2(x, norm="ortho")), rtol=1e-5, atol=1e-5)


@every_frame
@both_kinds
@every_lead
def test_inverse_undoes_forward(
    make_object: Callable[..., Any], frame: tuple[int, int], half: bool, lead: tuple[int, ...]
) -> None:
    pair = FourierPair(frame, half)
    x = make_object((*lead, *frame), real=half)
    torch.testing.assert_close(pair.inverse(pair.forward(x)), x, rtol=1e-5, atol=1e-6)


@every_frame
@both_kinds
def test_energy_is_kept_when_elements_count_by_their_multiplicity(
    make_object: Callable[..., Any], frame: tuple[int, int], half: bool
) -> None:
    pair = FourierPair(frame, half)
    x = make_object(frame, real=half)
    energy = (pair.forward(x).abs().square() * pair.multiplicity()).sum()
    torch.testing.assert_close(energy, x.abs().square().sum(), rtol=1e-5, atol=0)
    assert int(pair.multiplicity().sum()) == frame[0] * frame[1]


@every_frame
@both_kinds
def test_expand_restores_what_crop_left_out(
    make_object: Callable[..., Any], frame: tuple[int, int], half: bool
) -> None:
    pair = FourierPair(frame, half)
    full = torch.fft.fft2(make_object((2, *frame), real=half), norm="ortho").abs()
    assert pair.crop(full).shape[-2:] == pair.spectrum_shape
    torch.testing.assert_close(pair.expand(pair.crop(full)), full, rtol=1e-5, atol=1e-5)


@every_frame
@both_kinds
def test_expand_works_on_booleans(frame: tuple[int, int], half: bool) -> None:
    pair = FourierPair(frame, half)
    drawn = torch.rand(frame, generator=torch.Generator().manual_seed(0)) > 0.6
    symmetric = drawn & torch.roll(torch.flip(drawn, (0, 1)), (1, 1), (0, 1))
    assert torch.equal(pair.expand(pair.crop(symmetric)), symmetric)


@pytest.mark.parametrize("lead", [(), (2, 3)], ids=["one", "batch"])
def test_dense_shows_both_layouts_in_memory_order(lead: tuple[int, ...]) -> None:
    rows = torch.arange(torch.Size((*lead, 4, 7)).numel(), dtype=torch.float32).view(*lead, 4, 7)
    columns = rows.mT.contiguous().mT
    assert dense(rows).is_contiguous()
    assert dense(columns).is_contiguous()
    assert torch.equal(dense(rows), rows)
    assert torch.equal(dense(columns), rows.mT)
    dense(columns).mul_(2)
    assert torch.equal(columns, 2 * rows), "dense must be a view"


def test_like_copies_values_into_the_layout_of_a_spectrum() -> None:
    values = torch.arange(28.0).view(4, 7)
    rows, columns = torch.zeros(4, 7), torch.zeros(7, 4).mT
    for model in (rows, columns):
        for given in (values, values.mT.contiguous().mT):
            copy = like(given, model)
            assert torch.equal(copy, values)
            assert copy.stride() == model.stride()


@both_kinds
@every_lead
def test_a_spectrum_and_values_laid_out_like_it_meet_element_by_element(
    make_object: Callable[..., Any], half: bool, lead: tuple[int, ...]
) -> None:
    pair = FourierPair((18, 17), half)
    spectrum = pair.forward(make_object((*lead, 18, 17), real=half))
    ramp = torch.arange(18.0 * pair.spectrum_shape[1]).view(pair.spectrum_shape)
    expected = spectrum * ramp
    dense(spectrum).mul_(dense(like(ramp.expand(spectrum.shape), spectrum)))
    torch.testing.assert_close(spectrum, expected)


@every_frame
@both_kinds
def test_rings_hold_frequencies_of_one_length(frame: tuple[int, int], half: bool) -> None:
    pair = FourierPair(frame, half)
    full = pair.expand(rings(pair))
    short = min(frame)
    for y in range(frame[0]):
        for x in range(frame[1]):
            fy, fx = min(y, frame[0] - y) / frame[0], min(x, frame[1] - x) / frame[1]
            assert abs(int(full[y, x]) - short * (fy**2 + fx**2) ** 0.5) <= 0.5 + 1e-4


def test_the_mean_of_a_ring_counts_valid_pixels_only() -> None:
    pair = FourierPair((21, 18))
    ring = rings(pair)
    values = torch.rand(pair.spectrum_shape, generator=torch.Generator().manual_seed(0))
    where = (torch.rand(values.shape, generator=torch.Generator().manual_seed(1)) > 0.5) & (ring != 4)
    mean = ring_mean(values, where, ring)
    assert mean[4] == 0
    for number in (1, 3, 7):
        torch.testing.assert_close(mean[number], values[where & (ring == number)].mean())
