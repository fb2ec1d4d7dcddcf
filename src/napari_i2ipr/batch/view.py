"""A target as far as it is finished, for looking at while a run is at work on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch import target
from napari_i2ipr.batch.journal import Journal
from napari_i2ipr.errors import FormatError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from napari_i2ipr.batch.plan import Plan
    from napari_i2ipr.batch.report import Row


@dataclass(frozen=True, eq=False)
class BatchView:
    """A target as far as it is finished.

    Attributes
    ----------
    store : Path
        Where it lies.
    plan : Plan
        Its pieces.
    images : dict
        Array of each image in full resolution, read when it is sliced; NaN where nothing is done.
    done : ndarray of bool
        Which patterns have been dealt with, shape of the leading axes.
    rows : dict
        Row of every such pattern by its number.
    complete : bool
        Whether the target has its final name.
    """

    store: Path
    plan: Plan
    images: dict[str, Any]
    done: NDArray[np.bool_]
    rows: dict[int, Row]
    complete: bool


def open_batch(path: str | os.PathLike[str]) -> BatchView:
    """Open a target, or what there is of it while a run is at work on it.

    Parameters
    ----------
    path : path
        The target, by its final name.

    Raises
    ------
    FormatError
        If no batch has written there.
    """
    import zarr

    final = Path(path).absolute()
    partial = target.partial_of(final)
    store = partial if target.read_words(partial) is not None else final
    words = target.read_words(store)
    if words is None:
        raise FormatError(f"no batch at {path}", expected="a target of `i2ipr batch`", do="check the path")
    plan = target.plan_of(words, store)
    rows = {row.index: row for mark in Journal(store).marks(words["batch"]["digest"]) for row in mark.rows}
    done = np.zeros(plan.n_frames, bool)
    done[list(rows)] = True
    images = {image.name: zarr.open_array(str(store / image.name / "0"), mode="r") for image in plan.images}
    return BatchView(store, plan, images, done.reshape(plan.lead), rows, store == final)
