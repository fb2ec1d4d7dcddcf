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
class Span:
    """Which steps of a stage are run: a stage may be cut in two, and some methods change along it.

    Attributes
    ----------
    first : int
        Steps of the stage that were done before.
    total : int
        Steps of the whole stage; 0 when nobody knows.
    """

    first: int = 0
    total: int = 0


UNKNOWN = Span()
"""The beginning of a stage of unknown length."""


@dataclass(frozen=True)
class Method:
    """One iterative update rule.

    A method holds no data. What it must remember between steps is made by `init` and handed back to
    `step`, so that one value serves any number of images and threads.
    """

    @property
    def settles(self) -> bool:
        """Whether a solution stays where it is; false for methods that keep disturbing it."""
        return True

    @property
    def prefers_no_twin(self) -> bool:
        """Whether an image and its twin are treated alike."""
        return True

    @property
    def is_image(self) -> bool:
        """Whether the iterate is itself the image that it stands for; otherwise ``P_S P_M g`` is."""
        return False

    def init(self, g: Tensor, constraints: Constraints, span: Span = UNKNOWN) -> Any:
        """Memory for one image or batch that starts at `g`; None when none is needed."""
        return None

    def step(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """One update of `g`, shape ``(..., y, x)``, in place; returns the `shown` frame of the old `g`."""
        raise TypeError(f"{type(self).__name__} has no step of its own")

    def finish(self, g: Tensor, constraints: Constraints, memory: Any) -> None:
        """Leave in `g`, in place, what the next stage starts from: the last iterate, or the image that it is."""
        if self.is_image:
            g.copy_(constraints.embed(self.estimate(g, constraints, memory)))

    def shown(self, g: Tensor, constraints: Constraints) -> Tensor:
        """The frame that `g` stands for before the object constraint: ``P_M g``, or a copy of `g` itself."""
        return g.clone() if self.is_image else constraints.modulus(g)

    def estimate(self, g: Tensor, constraints: Constraints, memory: Any) -> Tensor:
        """The image that the iterate stands for, `shown` held to the object constraint, in the box, ``(..., h, w)``."""
        return constraints.crop(self.shown(g, constraints))


@dataclass(frozen=True)
class Wrapper(Method):
    """A method around another one; what it does not change is the other's.

    Attributes
    ----------
    method : Method
        The wrapped method.
    """

    method: Method

    @property
    def settles(self) -> bool:
        """As the wrapped method."""
        return self.method.settles

    @property
    def prefers_no_twin(self) -> bool:
        """As the wrapped method."""
        return self.method.prefers_no_twin

    @property
    def is_image(self) -> bool:
        """As the wrapped method."""
        return self.method.is_image
