"""The network of the authors' published checkpoints: a diffusion U-Net of the library diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_i2ipr.errors import ConfigError, InputError
from napari_i2ipr.refine.networks._base import LOG_VARIANCE_START, typical

if TYPE_CHECKING:
    from napari_i2ipr.refine.networks import NetworkSpec

CANDIDATES = 10
"""Candidates that it sees beside the image."""

WHITE = 0.999
"""Share of the pixels of the candidates' mean that are darker than white."""

GROUPS = 32
"""Channels are normed in so many groups."""

_ATTENTION = 2
"""The coarsest levels with attention."""


class Published(nn.Module):
    """The published network of I2I-PR (Kaya & Oktem, arXiv 2507.09609), for weights that were imported.

    It was trained on images of 0 ... 255 that were divided by 255, and knows neither the noise level nor
    how large the error is. Our units come without grey levels, so white is taken to be where `WHITE` of
    the pixels of the candidates' mean are darker; the expected error is a constant.

    Parameters
    ----------
    spec : NetworkSpec
        ``widths`` and ``blocks`` (the same number at each level) are those of the U-Net, ``steps_table`` is
        the number T of its times, and there is one replica. ``set_width`` has no meaning.

    Raises
    ------
    ConfigError
        When there is no such network.
    InputError
        When diffusers is not installed.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        widths, levels, blocks = spec.widths, len(spec.widths), set(spec.blocks)
        if levels < _ATTENTION or len(blocks) > 1 or any(width < 1 or width % GROUPS for width in widths):
            raise ConfigError(
                f"the published network with widths {widths} and blocks {spec.blocks}",
                expected=f"{_ATTENTION} levels or more, widths in steps of {GROUPS}, the same blocks at each level",
            )
        if not spec.steps_table or spec.replicas != 1:
            raise ConfigError("the published network", expected="steps_table above 0 and one replica")
        self.spec = spec
        self.multiple = 2 ** (levels - 1)
        plain = levels - _ATTENTION
        self.model = _unet()(
            sample_size=256,
            in_channels=1 + CANDIDATES,
            out_channels=1,
            layers_per_block=blocks.pop(),
            block_out_channels=widths,
            down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",) * _ATTENTION,
            up_block_types=("AttnUpBlock2D",) * _ATTENTION + ("UpBlock2D",) * plain,
            norm_num_groups=GROUPS,
        )

    def encode(self, candidates: Tensor) -> Tensor:
        """The ten candidates nearest to their mean; nearer ones again where there are fewer."""
        return typical(candidates, CANDIDATES)

    def forward(self, images: Tensor, features: Tensor, mean: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """See `napari_i2ipr.refine.networks`; of the condition only the time is looked at."""
        h, w = images.shape[-2:]
        unit = white(mean)
        maps = torch.cat([images, features], 1) / unit
        clock = (condition[:, 0] * self.spec.steps_table).round().clamp(1, self.spec.steps_table).long()
        padded = functional.pad(maps, (0, -w % self.multiple, 0, -h % self.multiple), mode="replicate")
        change: Tensor = self.model(padded, clock, return_dict=False)[0][..., :h, :w]
        return (maps.mean(1, keepdim=True) + change.float()) * unit, torch.full_like(mean, LOG_VARIANCE_START)


def white(mean: Tensor) -> Tensor:
    """What 255 grey levels are of the means ``(B, 1, h, w)``: their 99.9th percentile, ``(B, 1, 1, 1)``."""
    values = mean.flatten(1).sort(1).values
    return values[:, min(int(WHITE * values.shape[1]), values.shape[1] - 1), None, None, None].clamp(min=1e-6)


def _unet() -> Any:
    """The class of diffusers, whose names the checkpoints have."""
    try:
        from diffusers import UNet2DModel
    except ImportError:
        raise InputError(
            "weights whose network is one of the library diffusers, which is not installed",
            do='run: pip install "napari-i2ipr[published]"',
        ) from None
    return UNet2DModel
