"""Results of runs in the viewer: numbered layers of a run, one layer for previews, and a line about the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_i2ipr.plugin.axes import led
from napari_i2ipr.plugin.docked import look_at
from napari_i2ipr.plugin.layers import KEY, LINKED, result_layers, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import napari.viewer

    from napari_i2ipr.data import Reconstruction

PREVIEW = "preview"
"""Kind of the layer that previews share."""


def show_result(
    viewer: napari.viewer.Viewer,
    result: Reconstruction,
    name: str,
    number: int,
    *,
    lead: dict[str, tuple[Any, ...]],
    hide: Iterable[Layer] | None = None,
) -> list[Layer]:
    """Add the layers of a run.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to.
    result : Reconstruction
        What to show.
    name : str
        What was reconstructed.
    number : int
        Number of the run.
    lead : dict
        Scale, place and units of the axes that number the patterns, see `led`.
    hide : iterable of Layer, optional
        Layers to hide; the result is then shown side by side.
    """
    added = [Layer.create(*one) for one in led(result_layers(result, name, number), lead)]
    columns = sum(layer.visible for layer in added)
    if hide is not None:
        for layer in [*hide, *_in_the_way(viewer, columns)]:
            layer.visible = False
    for layer in added:
        viewer.add_layer(layer)
    for ndim in {layer.ndim for layer in added}:
        viewer.layers.link_layers([layer for layer in added if layer.ndim == ndim], LINKED)
    if hide is not None:
        side_by_side(viewer, columns)
        _show_what_was_done(viewer, added)
    look_at(viewer, added)
    return added


def side_by_side(viewer: napari.viewer.Viewer, columns: int) -> None:
    """Turn napari's grid on, so many pictures a row."""
    canvas = getattr(viewer, "canvas", None)  # napari 0.9 and later
    grid = viewer.grid if canvas is None else canvas.grid
    grid.stride = -1  # the layer on top of the list comes first
    grid.shape = (-1, columns)
    grid.enabled = True


def _in_the_way(viewer: napari.viewer.Viewer, columns: int) -> list[Layer]:
    """Previews, and earlier runs with more or fewer pictures, which would not make a row of the grid."""
    rows: dict[Any, list[Layer]] = {}
    for layer in viewer.layers:
        if layer.visible and words_of(layer).get("run") is not None:
            rows.setdefault(words_of(layer)["run"], []).append(layer)
    uneven = [layer for row in rows.values() if len(row) != columns for layer in row]
    return [*uneven, *(layer for layer in viewer.layers if words_of(layer).get("kind") == PREVIEW)]


def _show_what_was_done(viewer: napari.viewer.Viewer, added: list[Layer]) -> None:
    """Go to the first pattern, which is there after any stop, where the one that is shown is missing."""
    image = added[-1].data
    if image.ndim > 2 and not np.isfinite(image).all():
        for axis in range(image.ndim - 2):
            viewer.dims.set_current_step(viewer.dims.ndim - image.ndim + axis, 0)


def show_preview(viewer: napari.viewer.Viewer, result: Reconstruction, name: str) -> Layer:
    """Show a preview in the layer that previews share; the one before is replaced."""
    array, meta, _ = result_layers(result, name)[-1]
    meta["name"] = f"preview ({name})"
    meta["metadata"][KEY]["kind"] = PREVIEW
    for old in [layer for layer in viewer.layers if words_of(layer).get("kind") == PREVIEW]:
        viewer.layers.remove(old)
    layer = Layer.create(array, meta, "image")
    viewer.add_layer(layer)
    return layer


def scores_in_words(result: Reconstruction) -> str:
    """How well a result fits, as the end of a line."""
    score = result.scores.get("r_factor")
    if score is None:
        return ""
    kind = f" Uncertainty: {result.uncertainty_kind}."
    if "items" in result.scores:
        items = result.scores["items"]
        refined = sum(bool(item.get("refined")) for item in items)
        done = f"{len(items)} of {int(np.prod(result.image.shape[:-2]))} patterns reconstructed, {refined} refined"
        return f" {done}; R-factor {score:.3f} on the average.{kind}"
    done = "averaged and refined" if result.scores.get("refined") else "averaged"
    return f" R-factor {score:.3f}, {sum(row.weight > 0 for row in result.candidates)} candidates {done}.{kind}"
