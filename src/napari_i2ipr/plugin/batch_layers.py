"""Results of a batch as layers: read from their store frame by frame, also while a run is at work on it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError
from napari_i2ipr.plugin.batch_queue import PARTIAL
from napari_i2ipr.plugin.layers import KEY, ObjectGrid, limits
from napari_i2ipr.plugin.worker import load_torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.batch import BatchView
    from napari_i2ipr.plugin.layers import LayerData

SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "classical": ("classical mean", {"colormap": "gray", "visible": False}),
    "uncertainty": ("uncertainty", {"colormap": "magma"}),
    "phase": ("phase", {"colormap": "twilight_shifted", "contrast_limits": (-np.pi, np.pi)}),
    "amplitude": ("amplitude", {"colormap": "gray"}),
    "reconstruction": ("reconstruction", {"colormap": "gray"}),
}
"""Images of a store that become layers, the topmost last: the layer's kind, and its looks."""

_LOOKED_AT = 5
"""So many frames are read for the contrast."""

_TO_M = {"nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3}


class StoredImage:
    """An image of a result as an array that is read when it is sliced, and that follows the store to its final name.

    A run writes to ``NAME.zarr.partial`` and gives it the name ``NAME.zarr`` at its end; an array that was opened
    before would then find nothing and give NaN. Frames that are not finished are NaN.

    Parameters
    ----------
    target : Path
        Final name of the store.
    name : str
        Of the image in it.
    """

    def __init__(self, target: Path, name: str) -> None:
        stores = (target.with_name(target.name + PARTIAL), target)
        self._places = tuple(store / name / "0" / "zarr.json" for store in stores)
        self._lock = threading.Lock()
        self._place, self._array = self._opened()
        self.shape = tuple(int(n) for n in self._array.shape)
        self.dtype = np.dtype(self._array.dtype)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def _opened(self) -> tuple[tuple[Path, int], Any]:
        import zarr

        place = next((one for one in self._places if one.is_file()), self._places[-1])
        return (place, _changed(place)), zarr.open_array(str(place.parent), mode="r")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        with self._lock:
            found = self._read(index)
            if _changed(self._place[0]) != self._place[1]:  # it got its name while it was read
                found = self._read(index)
        return found

    def _read(self, index: Any) -> NDArray[Any]:
        if _changed(self._place[0]) != self._place[1]:
            self._place, self._array = self._opened()
        if (self._array.shape, self._array.dtype) != (self.shape, self.dtype):  # another result has taken its place
            return np.full(np.broadcast_to(np.float32(0), self.shape)[index].shape, np.nan, self.dtype)
        return np.asarray(self._array[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)


def _changed(file: Path) -> int:
    """When a file was changed, -1 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return -1


@dataclass(frozen=True, eq=False)
class Opened:
    """A result as far as it is finished.

    Attributes
    ----------
    target : Path
        Its final name.
    layers : list of tuple
        Layer data, the image last.
    first : tuple of int
        Place of the first pattern that has an image, in the leading axes.
    done, total : int
        Patterns dealt with, and all of them.
    """

    target: Path
    layers: list[LayerData]
    first: tuple[int, ...]
    done: int
    total: int


@dataclass(frozen=True)
class OpenTask:
    """A result that is to be opened, complete or not, under the name of its source."""

    target: Path
    name: str

    def __call__(self) -> Opened:
        """Open it; imports torch, so never call it in the main thread.

        Raises
        ------
        InputError
            When no pattern has an image yet.
        FormatError
            When there is no result of a batch.
        """
        load_torch()
        from napari_i2ipr.batch import open_batch

        view = open_batch(self.target)
        good = sorted(number for number, row in view.rows.items() if row.good)
        if not good:
            raise InputError(
                f"{self.target.name} without a finished image",
                expected="at least one",
                do="wait until the first unit is written",
            )
        lead = view.plan.lead
        first = tuple(int(at) for at in np.unravel_index(good[0], lead)) if lead else ()
        return Opened(
            self.target, layers_of(view, self.target, self.name, good), first, len(view.rows), view.plan.n_frames
        )


def layers_of(view: BatchView, target: Path, name: str, good: list[int]) -> list[LayerData]:
    """The images of a result as layers, and its table of scores in their metadata.

    Parameters
    ----------
    view : BatchView
        The opened result.
    target : Path
        Its final name.
    name : str
        Of the source.
    good : list of int
        Patterns with an image.
    """
    plan = view.plan
    grid = grid_of(view.store / "reconstruction")
    words = {
        "batch": str(target),
        "source": name,
        "scores_csv": str(target / "scores" / "scores.csv"),
        "rows": [view.rows[number].to_dict() for number in sorted(view.rows)],
    }
    layers: list[LayerData] = []
    for image in plan.images:
        if image.name not in SHOWN or not image.shown:
            continue
        kind, looks = SHOWN[image.name]
        data = StoredImage(target, image.name)
        meta = {
            "name": f"{kind} ({name})",
            **grid.placed(plan.box[:2], plan.lead_axes),
            **looks,
            "metadata": {KEY: {**words, "kind": kind}},
        }
        meta.setdefault("contrast_limits", _contrast(data, plan.lead, good, kind))
        layers.append((data, meta, "image"))
    order = list(SHOWN)
    kinds = [SHOWN[one][0] for one in order]
    return sorted(layers, key=lambda layer: kinds.index(layer[1]["metadata"][KEY]["kind"]))


def _contrast(data: StoredImage, lead: tuple[int, ...], good: list[int], kind: str) -> tuple[float, float]:
    """Contrast limits from some frames of the image."""
    some = [good[int(i)] for i in np.unique(np.linspace(0, len(good) - 1, _LOOKED_AT).astype(int))]
    frames = np.stack([data[tuple(int(at) for at in np.unravel_index(n, lead)) if lead else ...] for n in some])
    if kind == "uncertainty":
        return limits(frames, 99, from_zero=True)
    return limits(frames, 99.9, from_zero=bool(np.nanmin(frames) >= 0))


def grid_of(image: Path) -> ObjectGrid:
    """The object's pixels, by the OME-Zarr words of an image; plain pixels where it gives no length."""
    import zarr

    attributes: Any = zarr.open_group(str(image), mode="r").attrs
    scales = attributes["ome"]["multiscales"][0]
    unit = _TO_M.get(str(scales["axes"][-1].get("unit")))
    steps = next(one["scale"] for one in scales["datasets"][0]["coordinateTransformations"] if one["type"] == "scale")
    return ObjectGrid.of_pixel(None if unit is None else (float(steps[-2]) * unit, float(steps[-1]) * unit))
