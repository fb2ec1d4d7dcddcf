"""Half of the support for a while, against the mixture of an image and its twin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.solvers._base import UNKNOWN, Span, Wrapper, require

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class Detwinned(Wrapper):
    """The wrapped method ``g <- T(g; S and half)`` with half of the support S masked.

    After Guizar-Sicairos & Fienup, J. Opt. Soc. Am. A 29, 2367 (2012), who reduce the support for a while. An iterate
    that holds the image and its twin in equal parts is stuck where the support is centrosymmetric: no step prefers one
    of the two. In half of the support only one of them keeps its weight. The next stage has the whole support again,
    so a few iterations between two stages of the search do it: ``HIO:60 HIO+detwin:10 HIO:110``.

    For supports that are their own twin (boxes, disks). Not for more than about 20 iterations at a time, not at
    the end of a run, and of no use where the support itself tells the twin from the image.

    Attributes
    ----------
    method : Method
        The method that runs meanwhile.
    axis : int
        Along which axis of the support its first half of the pixels is kept: 0 for y, 1 for x.
    """

    axis: int = 0

    def __post_init__(self) -> None:
        require("axis", self.axis, 0, 1)

    @property
    def settles(self) -> bool:
        """No: half of a solution is taken away."""
        return False

    @property
    def prefers_no_twin(self) -> bool:
        """No: that is its purpose."""
        return False

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> Any:
        """The wrapped method's memory."""
        return self.method.init(g, constraints.halved(self.axis), span)

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g` in place; returns what the wrapped method does."""
        return self.method.step(g, constraints.halved(self.axis), memory)

    def finish(self, g: Tensor, constraints: Constraints, memory: Any) -> None:
        """What the wrapped method leaves."""
        self.method.finish(g, constraints, memory)

    def estimate(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """The wrapped method's estimate, within the whole support."""
        return self.method.estimate(g, constraints, memory)
