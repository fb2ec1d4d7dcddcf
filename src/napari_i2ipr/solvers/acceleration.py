"""Acceleration and iterate averaging: wrappers around any method, not flags of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import UNKNOWN, Span, Wrapper, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass
class _Momentum:
    inner: Any
    steps: int = 0
    last: Tensor | None = None


@dataclass(frozen=True)
class Accelerated(Wrapper):
    """Extrapolation along the drift of the iterates (I2I-PR, arXiv 2507.09609, initialisation stage).

    Every `every`-th step, with ``p = P_M g`` and ``g+`` the wrapped method's result,
    ``c = (p + g+) / 2`` and ``g = c + gamma/2 ||p - g+|| (c - c_last) / ||c - c_last||``, norms per
    image. Speeds up the slow tail of ER; leave it off for methods with feedback of their own.

    Attributes
    ----------
    method : Method
        The method that is accelerated.
    gamma : float
        Length of the extrapolation, >= 0.
    every : int
        Steps from one extrapolation to the next, >= 1.
    """

    gamma: float = 0.6
    every: int = 4

    def __post_init__(self) -> None:
        require("gamma", self.gamma, 0)
        require("every", self.every, 1)

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> _Momentum:
        """Memory of the last centre."""
        return _Momentum(self.method.init(g, constraints, span))

    def step(self, g: Tensor, constraints: Constraints, memory: _Momentum) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p = self.method.step(g, constraints, memory.inner)
        memory.steps += 1
        if memory.steps % self.every == 0:
            centre = (p + g).mul_(0.5)
            if memory.last is not None:
                drift = centre - memory.last
                length = (p - g).norm(dim=(-2, -1), keepdim=True) * (0.5 * self.gamma)
                drift.mul_(length / drift.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-30))
                g.copy_(drift.add_(centre))
            else:
                g.copy_(centre)
            memory.last = centre
        return p

    def finish(self, g: Tensor, constraints: Constraints, memory: _Momentum) -> None:
        """What the wrapped method leaves."""
        self.method.finish(g, constraints, memory.inner)

    def estimate(self, g: Tensor, constraints: Constraints, memory: _Momentum) -> Tensor:
        """The wrapped method's estimate."""
        return self.method.estimate(g, constraints, memory.inner)


@dataclass
class _Average:
    inner: Any
    total: Tensor | None = None
    count: int = 0


@dataclass(frozen=True)
class Averaged(Wrapper):
    """The wrapped method, with the mean of its projected iterates ``P_S P_M g`` as the estimate.

    With noisy data the iterates wander around the solution and their mean lies nearer to it than any
    of them. For the last stage of a schedule, over 100 iterations or more; useless before the
    method has converged.

    Attributes
    ----------
    method : Method
        The method whose iterates are averaged.
    """

    def finish(self, g: Tensor, constraints: Constraints, memory: _Average) -> None:
        """Leave the mean in `g`."""
        g.copy_(constraints.embed(self.estimate(g, constraints, memory)))

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> _Average:
        """An empty mean."""
        return _Average(self.method.init(g, constraints, span))

    def step(self, g: Tensor, constraints: Constraints, memory: _Average) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p = self.method.step(g, constraints, memory.inner)
        image = constraints.crop(p)
        memory.total = image if memory.total is None else memory.total.add_(image)
        memory.count += 1
        return p

    def estimate(self, g: Tensor, constraints: Constraints, memory: _Average) -> Tensor:
        """Mean of the projected iterates so far."""
        if memory.total is None:
            return self.method.estimate(g, constraints, memory.inner)
        return memory.total / memory.count
