"""Hybrid input-output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import Method, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class HIO(Method):
    """Hybrid input-output (Fienup 1982, eq. 44): ``P_M g`` where it is allowed, ``g - beta P_M g`` elsewhere.

    The workhorse: its feedback leaves local minima. Not for the last iterations, since with noisy
    data it never settles; follow it with ER or average its iterates.

    Attributes
    ----------
    beta : float
        Feedback, 0 < beta <= 1.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        require("beta", self.beta, 0, 1, above=True)

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p = constraints.modulus(g)
        g.sub_(p, alpha=self.beta)
        constraints.replace_allowed(g, p, test=p)
        return p
