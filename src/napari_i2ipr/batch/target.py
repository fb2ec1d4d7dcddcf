"""The store of a batch: OME-Zarr 0.5 images whose shards are the units.

While it is not complete it is ``TARGET.partial``, all its frames are NaN that are not done, and its attributes call it
a ``batch``. When everything is done it becomes a reconstruction like those of `napari_i2ipr.write` and takes its
final name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch.journal import Mark
from napari_i2ipr.batch.plan import Plan
from napari_i2ipr.errors import FormatError, I2IPRError, OutputError
from napari_i2ipr.io import READ_ERRORS, result_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_i2ipr.batch.plan import Image
    from napari_i2ipr.batch.units import Computed, Job
    from napari_i2ipr.data import Geometry

SMALLEST_LEVEL_PX = 128
"""The pyramid goes on while the longer side of its last level is larger than this."""


def partial_of(target: Path) -> Path:
    """Name of a target while it is not complete."""
    return target.with_name(target.name + ".partial")


def level_shapes(box: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """Shapes ``(h, w)`` of the full resolution and of every level of the pyramid, each half of the one before."""
    shapes = [(box[2], box[3])]
    while max(shapes[-1]) > SMALLEST_LEVEL_PX and min(shapes[-1]) > 1:
        shapes.append((shapes[-1][0] // 2, shapes[-1][1] // 2))
    return shapes


def create(store: Path, plan: Plan, geometry: Geometry, words: dict[str, Any]) -> None:
    """Make an empty store: all images and levels, no data.

    Parameters
    ----------
    store : Path
        New directory.
    plan : Plan
        Shapes and shards.
    geometry : Geometry
        Gives scale and unit.
    words : dict
        Attributes of the root, under our name.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    import zarr

    with writing(store):
        layout = {"version": "0.5", "bioformats2raw.layout": 3}
        zarr.create_group(str(store), zarr_format=3, attributes={result_store.KEY: words, "ome": layout})
        series = {"ome": {"version": "0.5", "series": [image.name for image in plan.images if image.shown]}}
        zarr.create_group(str(store / "OME"), zarr_format=3, attributes=series)
        zarr.create_group(str(store / result_store.SCORES), zarr_format=3)
        for image in plan.images:
            _create_image(store / image.name, image, plan, geometry.object_pixel_m(plan.frame_shape))


def _create_image(path: Path, image: Image, plan: Plan, pixel_m: tuple[float, float] | None) -> None:
    from yaozarrs import v05
    from yaozarrs.write.v05 import prepare_image

    lead, block, names = plan.lead, plan.block, plan.lead_axes
    if image.candidates:
        lead, block = (*lead, image.candidates), (*block, image.candidates)
        names = (*names, "candidate")
    shapes = level_shapes(plan.box) if image.shown else level_shapes(plan.box)[:1]
    axes, scale = result_store.axes_of(names, pixel_m)
    datasets = []
    for level in range(len(shapes)):
        factor = 2**level
        steps = [1.0] * len(lead) + [scale[0] * factor, scale[1] * factor]
        moved = [0.0] * len(lead) + [scale[0] * (factor - 1) / 2, scale[1] * (factor - 1) / 2]
        move = [v05.TranslationTransformation(translation=moved)] if level else []
        transforms = [v05.ScaleTransformation(scale=steps), *move]
        datasets.append(v05.Dataset(path=str(level), coordinateTransformations=transforms))
    described = v05.Image(multiscales=[v05.Multiscale(name=image.name, axes=axes, datasets=datasets)])
    sizes = [((*lead, h, w), np.dtype(image.dtype)) for h, w in shapes]

    def make(path: Path, shape: tuple[int, ...], **rest: Any) -> Any:
        return _create_array(path, shape, block, rest["dtype"], rest["dimension_names"])

    writer: Any = make
    prepare_image(path, described, sizes, chunks=None, writer=writer)


def _create_array(path: Path, shape: tuple[int, ...], block: tuple[int, ...], dtype: Any, names: list[str]) -> Any:
    """An array of nothing but NaN, which take no space: a frame a chunk, a unit a shard."""
    import zarr
    from zarr.codecs import BloscCodec

    missing = complex(np.nan, np.nan) if np.dtype(dtype).kind == "c" else np.nan
    return zarr.create_array(
        str(path),
        shape=shape,
        dtype=dtype,
        chunks=(1,) * len(block) + shape[-2:],
        shards=(*block, *shape[-2:]) if block else None,
        fill_value=missing,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
        dimension_names=names,
        zarr_format=3,
    )


def write_unit(job: Job, done: Computed, version: str) -> Mark:
    """Write a unit's shards, read them back, and say in a mark what they are.

    Raises
    ------
    OutputError
        If the file system refuses, or gives back something else.
    """
    hashes = {}
    with writing(job.store):
        for image in job.plan.images:
            values = done.arrays.get(image.name)
            hashes[image.name] = write_shard(job.store, f"{image.name}/0", job.plan, done.unit, values)
    made = {"device": done.device, "layout": done.layout, "version": version}
    return Mark(done.unit, job.identity, hashes, tuple(done.rows), done.interval_scales, made)


def write_shard(store: Path, name: str, plan: Plan, unit: int, values: NDArray[Any] | None) -> str | None:
    """Write one shard of an image's level, ``"reconstruction/0"``, whole; its hash, once it has been read back.

    Without values there is no file: its frames are NaN.
    """
    _file(store, name, plan, unit).unlink(missing_ok=True)  # one at the edge would be read first, damaged or not
    if values is None:
        return None
    array, region = opened(store, name), plan.region(unit)
    array[(*region, ...)] = values
    if not np.array_equal(np.asarray(array[(*region, ...)]), values, equal_nan=True):
        raise OutputError(f"other data in {store / name} than were written", do="check the disk, then run it again")
    return hash_shard(store, name, plan, unit)


def hash_shard(store: Path, name: str, plan: Plan, unit: int) -> str | None:
    """SHA-256 of a shard's file, None where there is none."""
    try:
        with _file(store, name, plan, unit).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _file(store: Path, name: str, plan: Plan, unit: int) -> Path:
    """The file of a shard."""
    array, cell = opened(store, name), plan.cell(unit)
    key: str = array.metadata.encode_chunk_key(cell + (0,) * (array.ndim - len(cell)))
    return store / name / key


@lru_cache(maxsize=64)
def opened(store: Path, name: str) -> Any:
    """An array of a store, opened once for reading and writing."""
    import zarr

    return zarr.open_array(str(store / name), mode="r+")


def is_sound(store: Path, plan: Plan, mark: Mark) -> bool:
    """Whether the shards of a marked unit are those that were written, byte by byte."""
    names = {image.name for image in plan.images}
    if not 0 <= mark.unit < plan.n_units or mark.hashes.keys() != names:
        return False
    try:
        return all(hash_shard(store, f"{name}/0", plan, mark.unit) == known for name, known in mark.hashes.items())
    except READ_ERRORS:
        return False


def read_words(store: Path) -> dict[str, Any] | None:
    """Our attributes of a store that a batch made, complete or not; None for anything else."""
    try:
        words: dict[str, Any] = json.loads((store / "zarr.json").read_text("utf-8"))["attributes"][result_store.KEY]
        return words if "plan" in words["batch"] else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def plan_of(words: dict[str, Any], store: Path) -> Plan:
    """The plan in a store's attributes.

    Raises
    ------
    FormatError
        If it is of another layout.
    """
    try:
        return Plan.from_dict(words["batch"]["plan"])
    except (LookupError, TypeError, ValueError) as error:
        raise FormatError(f"{store}, whose plan cannot be read", do="choose another target") from error


def sweep(store: Path) -> None:
    """Delete what a writer that was killed left of a file."""
    for folder, _, names in os.walk(store):
        for name in names:
            if name.endswith(".partial"):
                (Path(folder) / name).unlink(missing_ok=True)


def require_space(store: Path, needed: int) -> None:
    """Refuse to start what does not fit on the disk.

    Raises
    ------
    OutputError
        With what is needed and what is free.
    """
    free = free_bytes(store)
    if needed > free:
        raise OutputError(
            f"{free / 1e9:.3g} GB free at {store.parent}",
            expected=f"{needed / 1e9:.3g} GB for the result",
            do="make room or choose another target",
        )


def free_bytes(store: Path) -> int:
    """Free space where a store lies or will lie."""
    return shutil.disk_usage(store if store.exists() else store.parent).free


@contextmanager
def writing(store: Path) -> Iterator[None]:
    """Say in our words that the file system refused; what is done stays done.

    Raises
    ------
    OutputError
        In place of an OSError.
    """
    try:
        yield
    except I2IPRError:
        raise
    except OSError as error:
        raise OutputError(
            f"{store}, which cannot be written ({error.strerror or error})",
            expected="a writable place with enough free space",
            do="make room or mend it, then run the same command again: finished patterns are kept",
        ) from error
