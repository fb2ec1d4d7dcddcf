"""Reconstructions as a zarr v3 group of OME-Zarr 0.5 images.

``reconstruction/0`` is the object itself (float32 or complex64), ``uncertainty/0`` its standard
deviation, ``classical/0`` the classical mean where the object was refined or could have been, and
``candidates/0`` the aligned candidates when there are any. ``shells`` holds numbers by spatial frequency, a row for
each of the curves that its attributes name (see `napari_i2ipr.shells`). A complex object has the images
``amplitude`` and ``phase`` beside it, which viewers can show. Everything else lies in the root's
attributes under ``napari_i2ipr``. The root is a bioformats2raw layout, so that programs which know
nothing of us find the images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import FormatError
from napari_i2ipr.io import _attrs
from napari_i2ipr.io._guard import reading, writing
from napari_i2ipr.io._lazy import native, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_i2ipr.data import Reconstruction

KEY = _attrs.KEY
"""Name of our attributes."""

SCORES = "scores"
"""Group of a batch's table: a column is an array with a value for each frame."""

_MAX_AXES = 5
_UNITS = ((1e-7, "nanometer", 1e9), (1e-4, "micrometer", 1e6), (float("inf"), "millimeter", 1e3))


def write(result: Reconstruction, path: Path) -> None:
    """Write a reconstruction.

    Parameters
    ----------
    result : Reconstruction
        What to write; the scale of the images is its pixel, in nanometres, micrometres or millimetres,
        and plain pixels when the geometry is unknown.
    path : Path
        New directory.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    import zarr

    words = _attrs.reconstruction_plain(result)
    images: dict[str, NDArray[Any]] = {"reconstruction": np.asarray(result.image)}
    if np.iscomplexobj(result.image):
        images["amplitude"] = np.abs(result.image)
        images["phase"] = np.angle(result.image)
    images["uncertainty"] = np.asarray(result.uncertainty)
    if result.classical is not None:
        images["classical"] = np.asarray(result.classical)
    if result.candidate_images is not None:
        images["candidates"] = np.asarray(result.candidate_images)
    shown = [name for name, array in images.items() if not np.iscomplexobj(array)]
    lead = _lead_axes(result)
    with writing(path, "OME-Zarr"):
        layout = {"version": "0.5", "bioformats2raw.layout": 3}
        zarr.create_group(str(path), zarr_format=3, attributes={_attrs.KEY: words, "ome": layout})
        series = {"ome": {"version": "0.5", "series": shown}}
        zarr.create_group(str(path / "OME"), zarr_format=3, attributes=series)
        for name, array in images.items():
            axes = (*lead, "candidate") if name == "candidates" else lead
            _write_image(path / name, native(array), axes, result.pixel_m)
        if result.shells is not None:
            words = _attrs.shells_plain(result.shells)
            zarr.create_array(str(path / "shells"), data=native(result.shells.table()), zarr_format=3, attributes=words)


def read(path: Path) -> Reconstruction:
    """Read what `write` wrote.

    Raises
    ------
    FormatError
        If the store is damaged or not one of ours.
    """
    with reading(path, "a result store"):
        import zarr

        root = zarr.open_group(str(path), mode="r")
        words = root.attrs.get(_attrs.KEY)
        if not isinstance(words, dict):
            raise FormatError(
                f"{path}, which napari-i2ipr did not write",
                expected="a reconstruction of 'i2ipr reconstruct'",
                do="give the result, not the pattern",
            )
        _attrs.check_header(words, "reconstruction", str(path))
        words = {**words, "scores": {**words["scores"], **_items(path, root)}}
        extra = {name: _array(path, root, name) for name in ("candidates", "classical") if name in root}
        shells: Any = root.get("shells")
        return _attrs.reconstruction_from(
            words,
            _array(path, root, "reconstruction"),
            _array(path, root, "uncertainty"),
            candidate_images=extra.get("candidates"),
            classical=extra.get("classical"),
            shells=None if shells is None else _attrs.shells_from(shells.attrs, whole(path, shells)),
        )


def words_of(result: Reconstruction) -> dict[str, Any]:
    """Everything of a reconstruction but its arrays: what the root's attributes hold."""
    return _attrs.reconstruction_plain(result)


def unfinished_words(**more: Any) -> dict[str, Any]:
    """What the root's attributes hold while a batch is at work on the store: it is no reconstruction yet."""
    return {**_attrs.header("batch"), **{name: _attrs.plain(value) for name, value in more.items()}}


def _items(path: Path, root: Any) -> dict[str, Any]:
    """Scores of every frame from the table that a batch keeps beside its images; nothing where there is none."""
    if SCORES not in root or "names" not in root[SCORES].attrs:
        return {}
    table = root[SCORES]
    columns = {str(name): whole(path, table[str(name)]).tolist() for name in table.attrs["names"]}
    rows = zip(*columns.values(), strict=True) if columns else ()
    return {"items": [{k: v for k, v in zip(columns, row, strict=True) if v == v} for row in rows]}  # noqa: PLR0124


def _array(path: Path, root: Any, name: str) -> NDArray[Any]:
    return whole(path, root[f"{name}/0"])


def _lead_axes(result: Reconstruction) -> tuple[str, ...]:
    """Names of the axes before y and x, each once."""
    count = np.ndim(result.image) - 2
    names = tuple(str(name) for name in result.axes[:-2])
    taken = {"y", "x", "candidate"}
    if len(names) == count == len(set(names)) and not taken.intersection(names):
        return names
    return tuple(f"axis_{i}" for i in range(count))


def axes_of(lead: Sequence[str], pixel_m: tuple[float, float] | None) -> tuple[list[Any], tuple[float, float]]:
    """OME-Zarr axes of an image, and the scale of y and x in their unit.

    Parameters
    ----------
    lead : sequence of str
        Names of the leading axes.
    pixel_m : tuple of float or None
        Pixel ``(y, x)`` in metres; lengths are in pixels when it is None.
    """
    from yaozarrs import v05

    scale, unit = (1.0, 1.0), None
    if pixel_m is not None:
        unit, factor = next((unit, factor) for limit, unit, factor in _UNITS if max(pixel_m) < limit)
        scale = (pixel_m[0] * factor, pixel_m[1] * factor)
    time = [v05.TimeAxis(name=name) for name in lead[:1] if name in ("t", "time")]
    axes = [
        *time,
        *(v05.CustomAxis(name=name) for name in lead[len(time) :]),
        v05.SpaceAxis(name="y", unit=unit),
        v05.SpaceAxis(name="x", unit=unit),
    ]
    return axes, scale


def _write_image(path: Path, array: NDArray[Any], lead: Sequence[str], pixel_m: tuple[float, float] | None) -> None:
    """Write one OME-Zarr image of full resolution, one chunk a frame."""
    from yaozarrs import v05
    from yaozarrs.write.v05 import prepare_image

    if array.ndim > _MAX_AXES:
        array, lead = array.reshape((-1, *array.shape[-2:])), ("frame",)
    axes, scale = axes_of(lead, pixel_m)
    step = v05.ScaleTransformation(scale=[1.0] * len(lead) + list(scale))
    level = v05.Dataset(path="0", coordinateTransformations=[step])
    image = v05.Image(multiscales=[v05.Multiscale(name=path.name, axes=axes, datasets=[level])])
    chunks = (1,) * (array.ndim - 2) + array.shape[-2:]
    _, made = prepare_image(path, image, (array.shape, array.dtype), chunks=chunks, writer="zarr")
    for where in np.ndindex(array.shape[:-2]):
        made["0"][(*where, slice(None), slice(None))] = array[where]
