"""What a method is: a frozen value whose fields are its hyper-parameters, with one `step`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from napari_i2ipr.physics.projections import Constraints


def require(name: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Refuse a hyper-parameter outside ``low ... high`` (`above`: outside ``low < value <= high``).

    Raises
    ------
    ConfigError
        With the name and the range.
    """
    if not (math.isfinite(value) and low <= value <= high) or (above and value == low):
        words = f"a number {'above' if above else 'of at least'} {low:g}"
        raise ConfigError(f"{name} = {value}", expected=words + (f" and at most {high:g}" if high < math.inf else ""))


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
