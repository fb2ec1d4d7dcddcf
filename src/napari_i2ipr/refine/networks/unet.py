"""A U-Net of plain convolutions: no norms and no attention, which is what processors do fastest."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from napari_i2ipr.refine.networks._base import CONDITION_WIDTH, Levels


class Block(nn.Module):
    """Two 3 x 3 convolutions around a conditioned ReLU, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(CONDITION_WIDTH, 2 * width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """``(B, width, h, w)`` to the same."""
        scale, shift = self.film(embedded)[:, :, None, None].chunk(2, 1)
        out: Tensor = x + self.second(functional.relu(self.first(x) * (1 + scale) + shift))
        return out


class UNet(Levels):
    """Levels of residual blocks, halved by strided and doubled by transposed convolutions, skips added.

    After DRUNet (Zhang et al. 2021, arXiv 2008.13751), conditioned by scale and shift (FiLM,
    Perez et al. 2018). Not for processors without matrix units for which FLOPs are dear; `nafnet`
    needs a third of them.
    """

    def block(self, width: int) -> nn.Module:
        """See `Levels.block`."""
        return Block(width)

    def grown(self, width: int, to: int) -> nn.Module:
        """A transposed convolution."""
        return nn.ConvTranspose2d(width, to, 2, 2)
