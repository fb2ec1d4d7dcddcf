"""A NAFNet-like network: depthwise convolutions, simple gates, layer norms."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_i2ipr.refine.networks._base import CONDITION_WIDTH, Levels


class LayerNorm(nn.Module):
    """Norm over the channels of every pixel, summed in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, width, h, w)`` to the same."""
        normed = functional.layer_norm(x.permute(0, 2, 3, 1).float(), self.weight.shape, self.weight, self.bias)
        return normed.to(x.dtype).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise convolution with channel attention, then a gated mixing of channels, each added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = nn.Conv2d(width, width, 1)
        self.narrow = nn.Conv2d(width, width, 1)
        self.mix, self.unmix = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.film = nn.Linear(CONDITION_WIDTH, 2 * width)
        self.beta, self.gamma = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """``(B, width, h, w)`` to the same."""
        scale, shift = self.film(embedded)[:, :, None, None].chunk(2, 1)
        a, b = self.depthwise(self.widen(self.norm(x) * (1 + scale) + shift)).chunk(2, 1)
        gated = a * b
        x = x + self.beta * self.narrow(gated * self.attention(gated.mean((-2, -1), keepdim=True)))
        a, b = self.mix(self.norm2(x)).chunk(2, 1)
        out: Tensor = x + self.gamma * self.unmix(a * b)
        return out


class NAFNet(Levels):
    """Levels of gated depthwise blocks (Chen et al. 2022, arXiv 2204.04676), conditioned by FiLM.

    The attention pools over the whole frame. Not for processors with fast bfloat16 convolutions:
    depthwise convolutions and norms are bound by memory there, and `unet` is faster.
    """

    def block(self, width: int) -> nn.Module:
        """See `Levels.block`."""
        return Block(width)

    def grown(self, width: int, to: int) -> nn.Module:
        """A 1 x 1 convolution whose channels become pixels."""
        return nn.Sequential(nn.Conv2d(width, 4 * to, 1), nn.PixelShuffle(2))
