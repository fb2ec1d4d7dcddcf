"""The samplers: functions of (model, candidates, measurement, steps), one line of maths a line of code."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_i2ipr.refine.consistency import Consistency, TabledConsistency
from napari_i2ipr.refine.indi import times
from napari_i2ipr.refine.networks import build
from napari_i2ipr.refine.networks._base import typical

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_i2ipr.refine.consistency import Measured
    from napari_i2ipr.refine.networks import NetworkSpec
    from napari_i2ipr.refine.networks._base import Network

    OnStep = Callable[[int, int, Tensor], None]

LOG_VARIANCES = (-14.0, 1.0)
"""Expected squared errors are kept between these, natural logarithm, mean square of the image one."""

TYPICAL_NOISE = 0.03
"""Noise level that the network is told where it is unknown, normalised units."""


class Model(nn.Module):
    """A network and the data consistency that was trained with it."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = build(spec)
        self.consistency = TabledConsistency(spec.steps_table) if spec.steps_table else Consistency()


VIEWS = (0, 3, 4, 7, 1, 2, 5, 6)
"""The eight views of a square in the order in which they are taken: 180 degrees first.

Bit 0 mirrors y, bit 1 mirrors x, bit 2 exchanges the axes afterwards."""


def turn(images: Tensor, view: int) -> Tensor:
    """A view of images ``(..., h, w)``."""
    axes = [-2] * (view & 1) + [-1] * (view >> 1 & 1)
    images = images.flip(axes) if axes else images
    return images.mT if view & 4 else images


def turn_back(images: Tensor, view: int) -> Tensor:
    """What `turn` is undone by."""
    images = images.mT if view & 4 else images
    axes = [-2] * (view & 1) + [-1] * (view >> 1 & 1)
    return images.flip(axes) if axes else images


class Viewed:
    """A model whose network sees everything in one of the eight views; data consistency stays as it is."""

    def __init__(self, model: Model, view: int) -> None:
        self.spec, self.consistency, self.network = model.spec, model.consistency, _ViewedNetwork(model.network, view)


class _ViewedNetwork:
    def __init__(self, network: Network, view: int) -> None:
        self.network, self.view = network, view

    def encode(self, candidates: Tensor) -> Tensor:
        return turn_back(self.network.encode(turn(candidates, self.view)), self.view)

    def __call__(self, images: Tensor, features: Tensor, mean: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        seen = [turn(maps, self.view) for maps in (images, features, mean)]
        restored, log_variance = self.network(*seen, condition)
        return turn_back(restored, self.view), turn_back(log_variance, self.view)


class Known:
    """What stays the same over the steps of a member: mean, features, noise level, number of candidates."""

    def __init__(self, model: Model | Viewed, candidates: Tensor, measured: Measured) -> None:
        self.mean = candidates.mean(1, keepdim=True)
        self.features = model.network.encode(candidates)
        alpha = (2 * measured.variance.flatten(1)).sqrt()
        noise = torch.where(alpha > 0, alpha, TYPICAL_NOISE).clamp(1e-4, 10).log() + 3.5
        noise = noise.expand(candidates.shape[0], 1)
        self.numbers = torch.cat([noise, torch.full_like(noise, 1 / candidates.shape[1])], 1)


def denoise(model: Model | Viewed, images: Tensor, known: Known, time: float) -> tuple[Tensor, Tensor]:
    """The network's replicas ``(B, R, h, w)`` and log-variance ``(B, 1, h, w)`` at a time, float32."""
    clock = torch.full_like(known.numbers[:, :1], time)
    replicas, log_variance = model.network(images, known.features, known.mean, torch.cat([clock, known.numbers], 1))
    return replicas.float(), log_variance.float()


def expected_error(log_variance: Tensor) -> Tensor:
    """The squared error that the network expects, ``(B, h, w)``, kept to `LOG_VARIANCES`."""
    return log_variance[:, 0].clamp(*LOG_VARIANCES).exp()


def evolving(
    model: Model | Viewed,
    candidates: Tensor,
    measured: Measured,
    steps: int,
    on_step: OnStep | None = None,
    *,
    last: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Replicas go through data consistency and network in turn; the network's output is returned.

    Unlike the paper's InDI steps nothing is interpolated and no data consistency ends the walk, which
    would put the noise back (after prNet, arXiv 2507.09608).

    Parameters
    ----------
    model : Model
        Network and data consistency.
    candidates : Tensor
        Aligned, ``(B, K, h, w)``, normalised units.
    measured : Measured
        The patterns.
    steps : int
        Network evaluations T.
    on_step : callable, optional
        Called after every step with its number, T and the replicas ``(B, R, h, w)``.
    last : float
        Time of the last step, see `times`.

    Returns
    -------
    tuple of Tensor
        Image and expected squared error, ``(B, h, w)``.
    """
    known = Known(model, candidates, measured)
    x, log_variance = typical(candidates, model.spec.replicas), torch.zeros_like(known.mean)
    for step, t in enumerate(times(steps, last)):
        z = model.consistency(x, measured, t)
        x, log_variance = denoise(model, z, known, t)
        if on_step is not None:
            on_step(step + 1, steps, x)
    return x.mean(1), expected_error(log_variance)


def indi(
    model: Model | Viewed,
    candidates: Tensor,
    measured: Measured,
    steps: int,
    on_step: OnStep | None = None,
    *,
    last: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The paper's sampler (arXiv 2507.09609, section 3): x <- (d/t) DC_t(net(x, t)) + (1 - d/t) x, d to the next t.

    Started at the candidates' mean; its noise eta is not added, since the replicas differ already.
    Parameters and result as for `evolving`.
    """
    known = Known(model, candidates, measured)
    x, log_variance = known.mean.expand(-1, model.spec.replicas, -1, -1), torch.zeros_like(known.mean)
    walk = (*times(steps, last), 0.0)
    for step, (t, following) in enumerate(pairwise(walk)):
        z, log_variance = denoise(model, x, known, t)
        share = (t - following) / t
        x = share * model.consistency(z, measured, t) + (1 - share) * x
        if on_step is not None:
            on_step(step + 1, steps, x)
    return x.mean(1), expected_error(log_variance)


SAMPLERS = {"evolving": evolving, "indi": indi}
"""Samplers by name."""
