"""Error reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import Method

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class ER(Method):
    """Error reduction, ``g <- P_S P_M g`` (Fienup 1982, eq. 14; Gerchberg & Saxton 1972).

    The residual never grows, so it polishes what a global method has found. Not for finding the
    solution: it stops in the first local minimum.
    """

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        p = constraints.modulus(g)
        g.zero_()
        g[..., constraints.box[0], constraints.box[1]] = constraints.crop(p)
        return p
