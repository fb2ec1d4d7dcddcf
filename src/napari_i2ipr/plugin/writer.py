"""The writer that the manifest names: a whole reconstruction from any of its layers, or a pattern with its mask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.errors import InputError, OutputError
from napari_i2ipr.plugin.layers import KEY

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.plugin.layers import LayerData

CHOOSE = "select the layers of one reconstruction, or one pattern and its mask, and save the selected layers"


def write(path: str, layers: list[LayerData]) -> list[str]:
    """Write what the layers show, in the format that the ending says.

    Parameters
    ----------
    path : str
        ``.cxi`` or ``.zarr``; a reconstruction also as ``.tif``. An earlier output of this package is
        replaced, as napari's own writers do.
    layers : list of tuple
        Layer data of one reconstruction of this package, or of one pattern of it and at most one Labels
        layer with its bad pixels.

    Returns
    -------
    list of str
        The output.

    Raises
    ------
    OutputError
        When the layers are not of that kind, or not as this package made them; when the place cannot be
        written to. Never an InputError: that is a ValueError, of which napari makes "no plugin found".
    """
    from napari_i2ipr import io

    try:
        return [str(io.write(_shown(layers), path, overwrite=True))]
    except InputError as error:
        raise OutputError(error.got, expected=error.expected, do=error.do) from error


def _shown(layers: list[LayerData]) -> Measurement | Reconstruction:
    """What the layers show, for `napari_i2ipr.io.write`."""
    images = [layer for layer in layers if layer[2] == "image"]
    labels = [layer for layer in layers if layer[2] == "labels"]
    kinds = {_words(layer).get("kind") for layer in images}
    if any("result" in _words(layer) for layer in images):
        return _reconstruction(images, labels)
    if kinds == {"pattern"}:
        return _measurement(images, labels)
    names = ", ".join(repr(layer[1]["name"]) for layer in images[:3])
    raise InputError(
        f"image layers that napari-i2ipr did not make ({names})",
        expected="a reconstruction or a diffraction pattern",
        do="save them with napari's own writers, or use Layers > Data > Show as diffraction pattern first",
    )


def _words(layer: LayerData) -> dict[str, Any]:
    found = layer[1].get("metadata", {}).get(KEY)
    return found if isinstance(found, dict) else {}


def _reconstruction(images: list[LayerData], labels: list[LayerData]) -> Reconstruction:
    """The one result that all the layers show."""
    from napari_i2ipr.plugin.display import remember
    from napari_i2ipr.plugin.layers import result_layers

    first = _words(next(layer for layer in images if "result" in _words(layer)))
    result: Reconstruction = first["result"]
    if labels or any(_words(layer).get("result") is not result for layer in images):
        raise InputError(
            f"{len(images) + len(labels)} layers that are not of one reconstruction",
            expected="layers of a single run",
            do=CHOOSE,
        )
    known = {meta["metadata"][KEY]["kind"]: data for data, meta, _ in result_layers(result, "")}
    for data, meta, _ in images:
        if not np.array_equal(data, known[meta["metadata"][KEY]["kind"]], equal_nan=True):
            raise InputError(
                f"the layer {meta['name']!r}, whose data were changed after the run",
                expected="the result as it was computed",
                do="save the changed layer with napari's own writers",
            )
    return remember(result, first, [(_words(layer)["kind"], layer[1]) for layer in images])


def _measurement(images: list[LayerData], labels: list[LayerData]) -> Measurement:
    """One pattern, with the bad pixels that were painted or came with it."""
    from napari_i2ipr.plugin.layers import measurement_of

    if len(images) != 1 or len(labels) > 1:
        raise InputError(
            f"{len(images)} pattern(s) and {len(labels)} Labels layer(s)",
            expected="one pattern and at most one layer of bad pixels",
            do=CHOOSE,
        )
    data, meta, _ = images[0]
    shown = SimpleNamespace(
        name=meta["name"],
        data=data,
        rgb=meta["rgb"],
        multiscale=meta["multiscale"],
        axis_labels=meta["axis_labels"],
        metadata=meta["metadata"],
        source=None,
    )
    bad = labels[0][0] if labels else None
    return measurement_of(shown, bad_pixels=bad, support=_words(images[0]).get("support"))
