"""The results among the layers of a viewer, and what of them is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import I2IPRError
from napari_i2ipr.plugin.layers import is_pattern, measurement_of, words_of
from napari_i2ipr.plugin.regions import labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_i2ipr.data import Reconstruction

MAIN = ("reconstruction", "amplitude")
"""Kinds of the layer that shows a result's image."""

_MOST_PATTERNS = 8
"""So many combinations of pattern and mask are tried at most."""


@dataclass(frozen=True, eq=False)
class Run:
    """A result in the viewer.

    Attributes
    ----------
    result : Reconstruction
        All of it.
    number : int or None
        Of the run; None for one that was opened without a number.
    source : str
        What was reconstructed.
    layers : tuple of Layer
        That show it.
    """

    result: Reconstruction
    number: int | None
    source: str
    layers: tuple[Any, ...]

    @property
    def name(self) -> str:
        """For the list of runs."""
        number = "" if self.number is None else f"#{self.number} "
        frames = self.n_frames
        preview = "preview of " if any(words_of(layer).get("kind") == "preview" for layer in self.layers) else ""
        return f"{number}{preview}{self.source or 'a result'}" + (f" ({frames} patterns)" if frames > 1 else "")

    @property
    def n_frames(self) -> int:
        """Number of patterns."""
        return int(np.prod(self.result.image.shape[:-2], dtype=np.int64))

    @property
    def layer(self) -> Any:
        """The layer that stands for the result: its image, or another one that lies in the same place."""
        flat = [layer for layer in self.layers if layer.ndim == self.result.image.ndim]
        main = [layer for layer in flat if words_of(layer).get("kind") in MAIN]
        return (main or flat or [None])[-1]

    def item_at(self, point: Sequence[float]) -> int:
        """Number of the pattern shown where the sliders are, in the flattened leading axes."""
        lead, layer = self.result.image.shape[:-2], self.layer
        if not lead or layer is None:
            return 0
        at = layer.world_to_data(point[-layer.ndim :])[: len(lead)]
        where = [int(np.clip(round(float(x)), 0, n - 1)) for x, n in zip(at, lead, strict=True)]
        return int(np.ravel_multi_index(where, lead))

    def pixel_at(self, point: Sequence[float]) -> tuple[int, int] | None:
        """Pixel ``(y, x)`` of the image under a point of the world, None outside."""
        layer = self.layer
        if layer is None or len(point) < layer.ndim:
            return None
        at = layer.world_to_data(point[-layer.ndim :])[-2:]
        if not np.isfinite(at).all():
            return None
        y, x = (int(np.floor(value + 0.5)) for value in at)
        h, w = self.result.image.shape[-2:]
        return (y, x) if 0 <= y < h and 0 <= x < w else None


def runs_of(layers: Iterable[Any]) -> list[Run]:
    """The results that the layers show, in the order of the layers."""
    found: dict[int, list[Any]] = {}
    for layer in layers:
        result = words_of(layer).get("result")
        if result is not None:
            found.setdefault(id(result), []).append(layer)
    runs = []
    for shown in found.values():
        words = words_of(shown[-1])
        runs.append(Run(words["result"], words.get("run"), str(words.get("source") or ""), tuple(shown)))
    return runs


def patterns_of(layers: Sequence[Any], run: Run) -> list[Measurement]:
    """What among the layers a result may have been made from, the likeliest first; nothing is read.

    Parameters
    ----------
    layers : sequence of Layer
        Of the viewer.
    run : Run
        The result, which names its source.
    """
    shape = tuple(run.result.frame_shape)
    images = [layer for layer in layers if hasattr(layer, "rgb") and is_pattern(layer) and _frame(layer) == shape]
    images.sort(key=lambda layer: layer.name != run.source)
    masks = [layer for layer in layers if type(layer).__name__ == "Labels" and _frame(layer) == shape]
    found: list[Measurement] = []
    for image in images:
        group = words_of(image).get("group")
        mine = sorted(masks, key=lambda layer: not group or words_of(layer).get("group") != group)
        for mask in [*mine[:1], None, *mine[1:]]:
            if mask is not None and mask.ndim not in (2, image.ndim):
                continue
            try:
                bad = None if mask is None else labels_of(mask)
                found.append(measurement_of(image, bad_pixels=bad, support=words_of(image).get("support")))
            except I2IPRError:
                continue
    return found[:_MOST_PATTERNS]


def _frame(layer: Any) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape[-2:])
