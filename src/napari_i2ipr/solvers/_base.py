"""What a method is: a frozen value whose fields are its hyper-parameters, with one `step`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


@dataclass(frozen=True)
class Method:
    """One iterative update rule.

    A method holds no data. What it must remember between steps is made by `init` and handed back to
    `step`, so that one value serves any number of images and threads.
    """

    def init(self, g: Tensor, constraints: Constraints) -> Any:
        """Memory for one image or batch that starts at `g`; None when none is needed."""
        return None

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g`, shape ``(..., y, x)``, in place; returns ``P_M g`` of the old `g`."""
        raise TypeError(f"{type(self).__name__} has no step of its own")

    def finish(self, g: Tensor, constraints: Constraints, memory: Any) -> None:
        """Leave in `g`, in place, what the next stage starts from; the last iterate by default."""

    def estimate(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """The image that the iterate stands for, ``P_S P_M g`` in the box, ``(..., h, w)``."""
        return constraints.crop(constraints.modulus(g))
