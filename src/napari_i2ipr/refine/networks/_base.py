"""What all networks share: the encoding of a candidate set, the conditioning, any size, the residual."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_i2ipr.refine.networks import CONDITIONS

if TYPE_CHECKING:
    from napari_i2ipr.refine.networks import NetworkSpec

CONDITION_WIDTH = 64
"""Channels of the embedded conditions."""

LOG_VARIANCE_START = -4.0
"""Logarithm of the expected squared error of an untrained network, mean square of the image one."""


def typical(candidates: Tensor, count: int) -> Tensor:
    """The candidates nearest to their mean, ``(B, count, h, w)``, whatever their order; again if too few."""
    distance = (candidates - candidates.mean(1, keepdim=True)).square().mean((-2, -1))
    order = distance.argsort(1)
    order = order[:, torch.arange(count, device=order.device) % order.shape[1]]
    return candidates.gather(1, order[:, :, None, None].expand(-1, -1, *candidates.shape[-2:]))


class SetEncoder(nn.Module):
    """Candidates of any number and order to one stack of maps (deep sets, Zaheer et al. 2017).

    Each candidate's difference from the mean goes through the same two convolutions; mean and
    maximum over the candidates are kept, beside the mean and the standard deviation themselves.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.channels = 2 * width + 1

    def forward(self, candidates: Tensor) -> Tensor:
        """``(B, K, h, w)`` to ``(B, channels, h, w)``."""
        b, k, h, w = candidates.shape
        mean = candidates.mean(1, keepdim=True)
        apart = candidates - mean
        pairs = torch.stack([apart, mean.expand_as(apart)], 2).view(b * k, 2, h, w)
        codes = self.second(functional.relu(self.first(pairs.contiguous(memory_format=torch.channels_last))))
        codes = functional.relu(codes).view(b, k, -1, h, w)
        return torch.cat([codes.mean(1), codes.amax(1), apart.square().mean(1, keepdim=True).sqrt()], 1)


class Network(nn.Module):
    """Scaling, padding and the residual around a trunk that a subclass gives as `trunk`."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = SetEncoder(spec.set_width)
        self.embedding = nn.Sequential(
            nn.Linear(len(CONDITIONS), CONDITION_WIDTH),
            nn.SiLU(),
            nn.Linear(CONDITION_WIDTH, CONDITION_WIDTH),
            nn.SiLU(),
        )
        self.gate = nn.Linear(CONDITION_WIDTH, 1)
        self.multiple = 2 ** (len(spec.widths) - 1)
        self.channels_in = spec.replicas + 1 + self.encoder.channels
        self.channels_out = spec.replicas + 1

    def trunk(self, maps: Tensor, embedded: Tensor) -> Tensor:
        """Maps ``(B, channels_in, h, w)``, h and w multiples of `multiple`, to ``(B, channels_out, h, w)``."""
        raise TypeError(f"{type(self).__name__} has no trunk")

    def encode(self, candidates: Tensor) -> Tensor:
        """Features of aligned candidates ``(B, K, h, w)``."""
        features: Tensor = self.encoder(candidates)
        return features

    def forward(self, images: Tensor, features: Tensor, mean: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Restored replicas and the logarithm of the squared error expected of their mean."""
        h, w = images.shape[-2:]
        embedded = self.embedding(condition)
        level = mean.mean((-2, -1), keepdim=True)
        maps = torch.cat([images - mean, mean - level, features], 1)
        down, right = -h % self.multiple, -w % self.multiple
        if down or right:
            maps = functional.pad(maps, (0, right, 0, down), mode="replicate")
        out = self.trunk(maps.contiguous(memory_format=torch.channels_last), embedded)[..., :h, :w].float()
        gate = torch.sigmoid(self.gate(embedded).float())[:, :, None, None]
        base = mean + gate * (images.mean(1, keepdim=True) - mean)
        return base + out[:, :-1], out[:, -1:] + LOG_VARIANCE_START


class Levels(Network):
    """A U-shaped trunk: blocks on every level, halved by strided convolutions, doubled by `grown`, skips added."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        widths, blocks = spec.widths, spec.blocks
        self.head = nn.Conv2d(self.channels_in, widths[0], 3, padding=1)
        self.down = nn.ModuleList(self._blocks(w, n) for w, n in zip(widths, blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, 2) for a, b in itertools.pairwise(widths))
        self.grow = nn.ModuleList(self.grown(b, a) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(self._blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.tail = nn.Conv2d(widths[0], self.channels_out, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def block(self, width: int) -> nn.Module:
        """A block: called with maps ``(B, width, h, w)`` and the embedded conditions, answers the same shape."""
        raise TypeError(f"{type(self).__name__} has no block")

    def grown(self, width: int, to: int) -> nn.Module:
        """Doubles height and width, `width` channels to `to`."""
        raise TypeError(f"{type(self).__name__} does not grow")

    def _blocks(self, width: int, count: int) -> nn.ModuleList:
        return nn.ModuleList(self.block(width) for _ in range(count))

    def trunk(self, maps: Tensor, embedded: Tensor) -> Tensor:
        """See `Network.trunk`."""
        x: Tensor = self.head(maps)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                skips.append(x)
                x = self.shrink[level - 1](x)
            for block in blocks.children():
                x = block(x, embedded)
        for level in reversed(range(len(self.up))):
            x = self.grow[level](x) + skips[level]
            for block in self.up[level].children():
                x = block(x, embedded)
        out: Tensor = self.tail(x)
        return out
