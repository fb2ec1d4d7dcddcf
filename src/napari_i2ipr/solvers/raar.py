"""Relaxed averaged alternating reflections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import Method, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class RAAR(Method):
    """RAAR (Luke 2005, eq. 3.1): ``beta/2 (R_S R_M + 1) g + (1 - beta) P_M g``.

    Written out: ``P_M g`` where the support holds and ``2 P_M g - g`` is allowed, elsewhere
    ``beta g + (1 - 2 beta) P_M g``. Calmer than HIO on noisy data with a tight support; with a loose
    one HIO finds the solution more often.

    Attributes
    ----------
    beta : float
        Relaxation, 0 < beta <= 1.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        require("beta", self.beta, 0, 1, above=True)

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p = constraints.modulus(g)
        reflected = p.mul(2).sub_(g)
        g.mul_(self.beta).add_(p, alpha=1 - 2 * self.beta)
        if constraints.max_phase is not None:  # what is not allowed goes to the edge, not to 0
            g.add_(constraints.object(reflected), alpha=self.beta)
        else:
            constraints.replace_allowed(g, p, test=reflected)
        return p
