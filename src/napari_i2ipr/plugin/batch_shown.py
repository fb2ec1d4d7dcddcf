"""The results of a batch in the viewer: opened once each, refreshed while a run is at work on them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from psygnal import Signal

from napari_i2ipr.plugin.batch_layers import Opened, OpenTask
from napari_i2ipr.plugin.batch_queue import Item, LayerSource, stem_of
from napari_i2ipr.plugin.batch_words import here
from napari_i2ipr.plugin.docked import look_at
from napari_i2ipr.plugin.layers import LINKED, words_of
from napari_i2ipr.plugin.results import side_by_side
from napari_i2ipr.plugin.worker import sentence

if TYPE_CHECKING:
    import napari.viewer

    from napari_i2ipr.plugin.errands import Errands

MOST_OPEN = 10
"""Results that a run opens by itself; hundreds of layers would make the window slow."""

_FRESHEN_S = 1.0


class Shown:
    """Opens results as layers that are read from disk.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to.
    errands : Errands
        Opens the stores, in another thread.
    """

    failed = Signal(str)
    """The sentence to show when a result cannot be opened."""

    def __init__(self, viewer: napari.viewer.Viewer, errands: Errands) -> None:
        self.viewer, self.errands = viewer, errands
        self._by_itself: set[Path] = set()
        self._stale: set[Path | None] = set()
        self._next = 0.0

    def begin(self) -> None:
        """A run begins: it may open so many results by itself."""
        self._by_itself.clear()

    def layers(self, target: Path | None) -> list[Any]:
        """The layers that show a result."""
        return [layer for layer in self.viewer.layers if words_of(layer).get("batch") == str(target)]

    def open(self, item: Item, target: Path | None, *, by_itself: bool) -> None:
        """Open the result of an item soon.

        Parameters
        ----------
        item : Item
            The source, which gives the layers their name.
        target : Path or None
            Name of the result.
        by_itself : bool
            Whether the run opens it rather than the user.
        """
        if target is None:
            return
        if by_itself:
            if len(self._by_itself) >= MOST_OPEN and not self.layers(target):
                return
            self._by_itself.add(target)
        task = OpenTask(target, stem_of(item.source))
        self.errands.do(
            task,
            lambda found: self._show(found, item, asked=not by_itself),
            lambda error: self.failed.emit(here(sentence(error))),
        )

    def _show(self, found: Opened, item: Item, *, asked: bool) -> None:
        old = self.layers(found.target)
        shapes = [(words_of(layer)["kind"], tuple(layer.data.shape)) for layer in old]
        new = [(meta["metadata"]["napari_i2ipr"]["kind"], tuple(data.shape)) for data, meta, _ in found.layers]
        if shapes == new:
            if asked:
                self._make_room(found.target, item)
            for layer, (_, meta, _) in zip(old, found.layers, strict=True):
                layer.metadata.update(meta["metadata"])
                layer.visible = layer.visible or (asked and meta.get("visible", True))
                layer.refresh()
            added = old
        else:
            for layer in old:
                self.viewer.layers.remove(layer)
            added = self._add(found, item)
        if asked or shapes != new:
            self._look(added, found)

    def _add(self, found: Opened, item: Item) -> list[Any]:
        """Add the layers side by side, in the place of other results of batches."""
        added = [Layer.create(*one) for one in found.layers]
        self._make_room(found.target, item)
        for layer in added:
            self.viewer.add_layer(layer)
        self.viewer.layers.link_layers(added, LINKED)
        return added

    def _make_room(self, target: Path, item: Item) -> None:
        """Hide other results of batches, and the layer that this one was made from."""
        for layer in self.viewer.layers:
            other = words_of(layer).get("batch", str(target)) != str(target)
            if other or (isinstance(item.source, LayerSource) and item.source.is_of(layer)):
                layer.visible = False

    def _look(self, added: list[Any], found: Opened) -> None:
        """Go to the first pattern that has an image, where the one that is shown may have none."""
        self.viewer.layers.selection = {added[-1]}
        side_by_side(self.viewer, sum(layer.visible for layer in added))
        if found.done < found.total:
            for axis, place in enumerate(found.first):
                self.viewer.dims.set_current_step(self.viewer.dims.ndim - added[-1].ndim + axis, place)
        look_at(self.viewer, added)

    def freshen(self, targets: Iterable[Path | None], *, at_once: bool) -> None:
        """Read the frames that are shown of these results again: now, or once a second at most."""
        self._stale |= set(targets)
        now = time.monotonic()
        if now < self._next and not at_once:
            return
        self._next = now + _FRESHEN_S
        for layer in [layer for target in self._stale for layer in self.layers(target)]:
            if layer.visible:
                layer.refresh()
        self._stale.clear()
