"""Difference map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import Method, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class DM(Method):
    """Difference map (Elser 2003, eqs. 8-10): ``g + beta (P_S f_M(g) - P_M f_S(g))``.

    ``f_M(g) = P_M g + (P_M g - g) / beta`` and ``f_S(g) = P_S g - (P_S g - g) / beta``, Elser's choice
    of the two relaxations. Searches most widely of all methods at twice the cost of an iteration
    (two transform pairs); not for polishing.

    Attributes
    ----------
    beta : float
        Step, not 0; 0 < abs(beta) <= 1.5.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        require("abs(beta)", abs(self.beta), 0, 1.5, above=True)

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p_m = constraints.modulus(g)
        toward_modulus = p_m.add(p_m - g, alpha=1 / self.beta)
        p_s = constraints.object(g)
        toward_object = p_s.sub(p_s - g, alpha=1 / self.beta)
        g.add_(constraints.object(toward_modulus), alpha=self.beta)
        g.sub_(constraints.modulus(toward_object), alpha=self.beta)
        return p_m

    def estimate(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """The image that the iterate stands for, ``P_S f_M(g)`` in the box."""
        p_m = constraints.modulus(g)
        return constraints.crop(p_m.add(p_m - g, alpha=1 / self.beta))
