"""Partial coherence in the modulus projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import UNKNOWN, Span, Wrapper

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class PartlyCoherent(Wrapper):
    """The wrapped method with ``P_M g = F^-1[G sqrt(I) / sqrt(|G|^2 * psf)]``.

    The modulus projection of Clark et al., Nat. Commun. 3, 993 (2012). The psf is that of the settings ``coherence``;
    with a coherent beam nothing changes. ML and WF compare with the blurred pattern in the same way.

    For the stages after the search, from an object that has been found as if the beam were coherent: the search itself
    stagnates with it, because a dark pixel's modulus is then hardly its own. At twice the cost of an iteration.

    Attributes
    ----------
    method : Method
        The method that is told of the blur.
    """

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> Any:
        """The wrapped method's memory."""
        return self.method.init(g, constraints.blurring(), span)

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns what the wrapped method does."""
        return self.method.step(g, constraints.blurring(), memory)

    def finish(self, g: Tensor, constraints: Constraints, memory: Any) -> None:
        """What the wrapped method leaves."""
        self.method.finish(g, constraints.blurring(), memory)

    def shown(self, g: Tensor, constraints: Constraints) -> Tensor:
        """What the wrapped method shows."""
        return self.method.shown(g, constraints.blurring())

    def estimate(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """The wrapped method's estimate."""
        return self.method.estimate(g, constraints.blurring(), memory)
