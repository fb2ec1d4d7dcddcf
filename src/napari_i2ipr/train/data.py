"""Batches of the training: drawn by seed, stage and number, so that a resumed run sees what it would have seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_i2ipr.physics.fourier import FourierPair
from napari_i2ipr.physics.problem import generator
from napari_i2ipr.refine.consistency import Measured, ring_signal
from napari_i2ipr.refine.sampler import turn
from napari_i2ipr.train import synthetic
from napari_i2ipr.train.objects import draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_i2ipr.train.candidates import CandidateSet
    from napari_i2ipr.train.images import Picture
    from napari_i2ipr.train.recipe import Stage

ALPHA = (0.008, 0.3)
"""Noise levels of synthetic sets in normalised units, log-uniform: what alpha 1 ... 8 came to on real ones."""

SHARES = (0.75, 0.1, 0.15)
"""Shares of pictures, isolated objects and dead leaves in synthetic sets."""

MOST = 10
"""Most candidates in a batch."""


@dataclass(frozen=True)
class Batch:
    """Candidate sets, what was measured, and the truth ``(B, h, w)``; normalised units."""

    candidates: Tensor
    measured: Measured
    truth: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(self.candidates.to(device), self.measured.to(device), self.truth.to(device))


class Sets:
    """Real candidate sets in memory, grouped by size."""

    def __init__(self, groups: Sequence[Sequence[CandidateSet]]) -> None:
        self.groups = [list(group) for group in groups if group]
        self.shares = np.array([len(group) for group in self.groups]) / sum(len(group) for group in self.groups)

    def batch(self, stage: Stage, rng: np.random.Generator) -> Batch:
        """Sets of one group, each in one of its eight views, with a random number of candidates."""
        group = self.groups[int(rng.choice(len(self.groups), p=self.shares))]
        chosen = [group[int(i)] for i in rng.integers(len(group), size=stage.batch)]
        return batch_of(chosen, [int(v) for v in rng.integers(8, size=stage.batch)], rng)


def batch_of(sets: Sequence[CandidateSet], views: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
    """Sets of one size stacked; with `rng` a random number of their candidates, else all that all have."""
    most = min(MOST, *(len(one.images) for one in sets))
    count = most if rng is None or rng.random() < 0.6 else int(rng.integers(1, most + 1))
    images, truths, amplitudes = [], [], []
    for one, view in zip(sets, views, strict=True):
        picked = np.arange(count) if rng is None else rng.permutation(len(one.images))[:count]
        images.append(turn(torch.from_numpy(one.images[picked]).float(), view))
        truths.append(turn(torch.from_numpy(one.truth).float(), view))
        amplitudes.append(_spectral_view(torch.from_numpy(one.amplitude), view))
    alpha = torch.tensor([one.alpha for one in sets])
    return Batch(torch.stack(images), measured_of(torch.stack(amplitudes)[:, None], alpha), torch.stack(truths))


def synthetic_batch(stage: Stage, pictures: Sequence[Picture], rng: np.random.Generator) -> Batch:
    """Objects drawn afresh, with made-up candidates."""
    objects = np.stack([draw(rng, pictures, stage.size, SHARES) for _ in range(stage.batch)])
    truth = torch.from_numpy(objects).float()
    truth = truth / truth.square().mean((-2, -1), keepdim=True).sqrt()
    alpha = torch.from_numpy(np.exp(rng.uniform(math.log(ALPHA[0]), math.log(ALPHA[1]), stage.batch))).float()
    own = torch.Generator().manual_seed(int(rng.integers(2**62)))
    count = MOST if rng.random() < 0.6 else int(rng.integers(1, MOST + 1))
    measured = measured_of(synthetic.pattern(truth, alpha, own), alpha)
    return Batch(synthetic.candidates(truth, count, own), measured, truth)


def measured_of(amplitude: Tensor, alpha: Tensor) -> Measured:
    """Completely measured patterns ``(B, 1, y, kx)`` of square objects that fill the half box."""
    side = amplitude.shape[-2]
    pair = FourierPair((side, side))
    ones, variance = torch.ones_like(amplitude), alpha.square() / 2
    box = slice(side // 4, side // 4 + side // 2)
    signal = ring_signal(pair, amplitude, ones.bool(), variance)
    return Measured(pair, amplitude, ones, signal, variance[:, None, None, None], (box, box))


def random_numbers(seed: int, stage: int, number: int) -> np.random.Generator:
    """The random numbers of a batch."""
    return generator(seed, 1 << 33, stage, number)


def _spectral_view(amplitude: Tensor, view: int) -> Tensor:
    """The modulus ``(y, kx)`` of the image's view; turning by 180 degrees changes nothing."""
    pair = FourierPair((amplitude.shape[-2], amplitude.shape[-2]))
    if (view & 1) ^ (view >> 1 & 1):
        amplitude = amplitude.flip(-2).roll(1, -2)
    return pair.crop(pair.expand(amplitude).mT).contiguous() if view & 4 else amplitude
