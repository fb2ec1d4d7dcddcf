"""Oversampling smoothness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_i2ipr.solvers._base import UNKNOWN, Method, Span, require
from napari_i2ipr.solvers.hio import HIO

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints

LOOK_EVERY = 2
"""Steps from one R-factor to the next; a stage starts from its predecessor's best iterate among these."""


@dataclass
class _Annealing:
    step: int
    total: int
    stage: int
    window: Tensor
    best: Tensor
    residual: Tensor


@dataclass(frozen=True)
class OSS(Method):
    """Oversampling smoothness (Rodriguez et al., J. Appl. Cryst. 46, 312 (2013)): HIO, smooth outside.

    After a step of HIO the density outside the support is smoothed, ``F^-1[W F[g outside]]`` with the Gaussian
    ``W(k) = exp(-(k / a)^2 / 2)``; inside it stays. The iterations are cut into `stages` equal parts, in which the
    width a falls linearly from N to 1/N pixels (N the frame's side; along both axes in cycles per pixel for frames that
    are not square); each part starts from the iterate of lowest R-factor of the part before. Only what lies outside
    is filtered, so that no density leaks out and a solution stays one.

    For noisy data, where the density outside the support is mostly noise; 100 iterations a part or more. Not for
    noise-free data or short runs, where it is HIO at three times the cost (two pairs of transforms an iteration and
    the R-factor).

    Attributes
    ----------
    beta : float
        Feedback of HIO, 0 < beta <= 1.
    stages : int
        Number of parts, >= 1; a single one has the width N throughout.
    """

    beta: float = 0.9
    stages: int = 10

    def __post_init__(self) -> None:
        require("beta", self.beta, 0, 1, above=True)
        require("stages", self.stages, 1)

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> _Annealing:
        """The filter of the first part, and no best iterate yet."""
        stage = self._stage(span.first, span.total)
        none = g.real.new_full(g.shape[:-2], float("inf"))
        return _Annealing(span.first, span.total, stage, self._window(stage, constraints), g, none)

    def step(self, g: Tensor, constraints: Constraints, memory: _Annealing) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p = HIO(self.beta).step(g, constraints, None)
        self._smooth(g, constraints, memory.window)
        memory.step += 1
        if memory.step % LOOK_EVERY == 0:
            residual = constraints.r_factor(constraints.crop(p))
            better = residual < memory.residual
            memory.best = g.clone().where(better[..., None, None], memory.best)
            memory.residual = residual.where(better, memory.residual)
        stage = self._stage(memory.step, memory.total)
        if stage > memory.stage:
            g.copy_(memory.best.where(memory.residual.isfinite()[..., None, None], g))
            memory.stage, memory.window = stage, self._window(stage, constraints)
            memory.residual = memory.residual.new_full(memory.residual.shape, float("inf"))
        return p

    def _stage(self, step: int, total: int) -> int:
        """Number of the part that a step belongs to, from 0."""
        return min(step * self.stages // total, self.stages - 1) if total else 0

    def _window(self, stage: int, constraints: Constraints) -> Tensor:
        """The filter W of a part in the layout of a spectrum."""
        import torch

        from napari_i2ipr.physics.fourier import like

        pair, device = constraints.pair, constraints.free.device
        n = max(pair.shape)
        width = 1 + (n**-2 - 1) * stage / max(self.stages - 1, 1)
        fy, fx = (torch.fft.fftfreq(side, device=device) for side in pair.shape)
        squares = pair.crop(fy[:, None].square() + fx[None].square())
        return like(torch.exp(-squares / (2 * width**2)), constraints.free)

    @staticmethod
    def _smooth(g: Tensor, constraints: Constraints, window: Tensor) -> None:
        """In place: smooth what lies outside the support, leave what lies inside."""
        inside = constraints.inside
        part = g[..., constraints.box[0], constraints.box[1]]
        kept = part.clone()
        part.zero_() if inside is None else part.masked_fill_(inside, 0)
        g.copy_(constraints.pair.inverse(constraints.pair.forward(g) * window))
        part.copy_(kept if inside is None else kept.where(inside, part))
