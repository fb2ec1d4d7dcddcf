"""Maximum-likelihood refinement for photon noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_i2ipr.solvers._base import UNKNOWN, Method, Span, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints

NEWTON_STEPS = 5
"""Newton steps of a line search; they need no transform."""


@dataclass
class _State:
    """The likelihood, and per image the accepted point with the direction and step that led away from it."""

    known: Tensor
    background: Tensor
    intensity: Tensor
    accepted: Tensor
    loss: Tensor
    descent: Tensor | None = None
    direction: Tensor | None = None
    length: Tensor | None = None


@dataclass(frozen=True)
class ML(Method):
    """Poisson likelihood by conjugate gradients (Thibault & Guizar-Sicairos, New J. Phys. 14, 063004 (2012)).

    Minimises ``L(g) = sum |G|^2 - J log(|G|^2 + b)`` over the measured pixels, ``J = I + b``, within the object
    constraint: directions of Polak and Ribiere from the gradient ``F^-1[(1 - J / (|G|^2 + b)) G]``, each line search
    by Newton's method on the exact L along the line. Values at 0 that would become negative stay out of the direction,
    and what becomes negative all the same is set to 0. A point where L has risen is taken back and half the step tried.
    `background` b, added to both the model and the data, bounds the weight of dark pixels; it moves no solution.

    For the last 20 to 100 iterations: it weighs every pixel by its own noise, and comes nearer to the best fit than ER.
    Not for the search (it goes down into the nearest minimum); an iteration costs four to five of HIO's. With few
    photons the best fit is a fit to noise. `relaxation` has no part in it. With ``+acc`` its directions are lost.

    Attributes
    ----------
    background : float
        b as a share of the mean measured intensity, 0 < background <= 1.
    """

    background: float = 1e-4

    def __post_init__(self) -> None:
        require("background", self.background, 0, 1, above=True)

    @property
    def is_image(self) -> bool:
        """Yes: the iterate lies in the support."""
        return True

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> _State:
        """What was measured, and `g` within the constraint."""
        from napari_i2ipr.physics.projections import total

        known = constraints.known()
        intensity = constraints.amplitude.square() * (known > 0)
        mean = total(intensity * known) / total(known)
        b = (self.background * mean.clamp(min=1e-30))[..., None, None]
        nothing = g.real.new_full(g.shape[:-2], float("inf"))
        return _State(known, b, intensity + b, constraints.object(g), nothing)

    def step(self, g: Tensor, constraints: Constraints, memory: _State) -> Tensor:
        """One update of `g` in place; returns the old `g`."""
        old = g.clone()
        inside = constraints.object(g)
        spectrum = constraints.pair.forward(inside)
        model = constraints.intensity(spectrum).add_(memory.background)
        loss = _deviance(model, memory)
        risen = loss > memory.loss * (1 + 1e-6)
        slope = constraints.spread((1 - memory.intensity / model) * (memory.known > 0))
        descent = constraints.feasible(constraints.pair.inverse(spectrum * slope).neg_(), inside)
        direction = _conjugate(descent, inside, constraints, memory, risen)
        length = _line_search(spectrum, model, constraints.pair.forward(direction), constraints, memory)
        if memory.direction is not None and memory.length is not None:
            length = (memory.length / 2).where(risen, length)
            wide = risen[..., None, None]
            inside = memory.accepted.where(wide, inside)
            direction = memory.direction.where(wide, direction)
            descent = descent if memory.descent is None else memory.descent.where(wide, descent)
            loss = memory.loss.where(risen, loss)
        memory.accepted, memory.loss = inside, loss
        memory.descent, memory.direction, memory.length = descent, direction, length
        g.copy_(constraints.object(inside + length[..., None, None] * direction))
        return old

    def estimate(self, g: Tensor, constraints: Constraints, memory: _State) -> Tensor:
        """The iterate, or the one before where L has risen."""
        inside = constraints.object(g)
        model = constraints.intensity(constraints.pair.forward(inside)).add_(memory.background)
        risen = _deviance(model, memory) > memory.loss * (1 + 1e-6)
        return constraints.crop(memory.accepted.where(risen[..., None, None], inside))


def _conjugate(descent: Tensor, inside: Tensor, constraints: Constraints, memory: _State, risen: Tensor) -> Tensor:
    """Polak and Ribiere's direction within the constraint; straight downhill at first, and where it leads uphill."""
    from napari_i2ipr.physics.projections import inner

    if memory.descent is None or memory.direction is None:
        return descent
    before = memory.descent
    share = inner(descent, descent - before) / inner(before, before).clamp(min=1e-30)
    share = share.clamp(min=0).masked_fill(risen, 0)
    direction = constraints.feasible(descent + share[..., None, None] * memory.direction, inside)
    uphill = inner(direction, descent) <= 0
    return descent.where(uphill[..., None, None], direction)


def _line_search(spectrum: Tensor, model: Tensor, ahead: Tensor, constraints: Constraints, memory: _State) -> Tensor:
    """Step towards the minimum of L along a direction with the spectrum `ahead`, ``(...)``, not negative.

    The curvature is held above half of its positive part: where an amplitude passes 0 on the way, L is no parabola.
    """
    from napari_i2ipr.physics.projections import products, total

    linear = constraints.spread(2 * products(spectrum, ahead))
    square = constraints.intensity(ahead)
    t = model.new_zeros(model.shape[:-2])
    for _ in range(NEWTON_STEPS):
        wide = t[..., None, None]
        value = (model + wide * (linear + wide * square)).maximum(memory.background)
        ratio = memory.intensity / value
        excess = (1 - ratio) * memory.known
        first = linear + 2 * wide * square
        steep = total(first.square() * ratio / value * memory.known)
        curve = steep + 2 * total(square * excess)
        t = (t - total(first * excess) / curve.maximum(0.5 * steep).clamp(min=1e-30)).clamp(min=0)
    return t


def _deviance(model: Tensor, memory: _State) -> Tensor:
    """L less what it is for a perfect fit, ``(...)``: half the Poisson deviance, exact near the minimum."""
    from napari_i2ipr.physics.projections import total

    excess = (model - memory.intensity) / memory.intensity
    return total(memory.intensity * (excess - excess.log1p()) * memory.known)
