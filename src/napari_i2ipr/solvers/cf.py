"""Charge flipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import Method, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class CF(Method):
    """Charge flipping (Oszlanyi & Suto, Acta Cryst. A 60, 134 (2004)): weak density changes its sign.

    ``g = P_M g`` where the density is at least `delta` times its standard deviation over the frame, ``-P_M g``
    elsewhere. Densities that may be negative, and complex ones, are flipped where their modulus is below that (the
    band of Oszlanyi & Suto, Acta Cryst. A 63, 156 (2007)). Outside the support it is HIO, ``g - beta P_M g``: a
    support that fills the frame gives the published method. (To flip all that lies outside does not work: the
    object cannot settle, as `R_S P_M` never damps what is outside.)

    For sparse objects (particles, atoms, spots on nothing), above all where the support is no more than a rough box.
    Not for continuous grey values, whose weak parts it keeps destroying, and not for the end of a run: a solution is
    no fixed point, so follow it with ER.

    Attributes
    ----------
    delta : float
        Threshold in standard deviations of the density, > 0.
    beta : float
        Feedback outside the support, 0 < beta <= 1.
    """

    delta: float = 0.2
    beta: float = 0.9

    def __post_init__(self) -> None:
        require("delta", self.delta, 0, above=True)
        require("beta", self.beta, 0, 1, above=True)

    @property
    def settles(self) -> bool:
        """No: weak parts of a solution are flipped for ever."""
        return False

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns ``P_M g``."""
        from napari_i2ipr.physics.projections import deviation

        p = constraints.modulus(g)
        rows, columns = constraints.box
        part = p[..., rows, columns]
        level = part if constraints.nonnegative else part.abs()
        strong = level >= self.delta * deviation(p)[..., None, None]
        flipped = part.where(strong, -part)
        g.sub_(p, alpha=self.beta)
        inside = constraints.inside
        g[..., rows, columns] = flipped if inside is None else flipped.where(inside, g[..., rows, columns])
        return p
