"""What layers look like: whether a picture is shown as a pattern, and how a saved result was shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_i2ipr.data import Reconstruction

PLACE = "napari"
"""Where a result's provenance keeps how it was shown."""

NUMBERS = ("gamma", "opacity")
"""Looks that are plain numbers."""

PICTURE_RANGE = 10.0
"""Brightest ten-thousandth over median: in pictures it lies below this, in far-field patterns above."""

PICTURE_NEGATIVE = 0.01
"""Share of negative values that no detector gives."""


def looks_like_pattern(frame: NDArray[Any]) -> bool:
    """Whether a picture spans intensities as far-field patterns do, and ordinary pictures do not.

    Parameters
    ----------
    frame : ndarray
        ``(y, x)``.
    """
    values = frame[np.isfinite(frame)]
    if values.size == 0 or (values < 0).mean() > PICTURE_NEGATIVE:
        return False
    middle, high = (float(value) for value in np.percentile(values, (50, 99.99)))
    return high > PICTURE_RANGE * max(middle, 0.0)


def remember(result: Reconstruction, words: Mapping[str, Any], layers: Iterable[tuple[str, Mapping[str, Any]]]) -> Any:
    """The result with what its layers are called and look like.

    Parameters
    ----------
    result : Reconstruction
        To be saved.
    words : mapping
        What one of its layers says of itself: number of the run and name of the source.
    layers : iterable
        Kind and napari's description of every layer that is saved.
    """
    looks = {kind: _looks(meta) for kind, meta in layers}
    kept = {"run": words.get("run"), "source": words.get("source"), "layers": looks}
    return replace(result, provenance={**result.provenance, PLACE: kept})


def recall(result: Reconstruction) -> tuple[str | None, int | None, dict[str, dict[str, Any]]]:
    """Name of the source, number of the run, and looks by kind of layer; all empty where nothing was kept.

    Parameters
    ----------
    result : Reconstruction
        As it was read; the file may be anybody's, so whatever has not the right type is left out.
    """
    kept = result.provenance.get(PLACE)
    if not isinstance(kept, dict):
        return None, None, {}
    source, run, looks = kept.get("source"), kept.get("run"), kept.get("layers")
    known = looks if isinstance(looks, dict) else {}
    return (
        source if isinstance(source, str) else None,
        run if isinstance(run, int) else None,
        {str(kind): _valid(look) for kind, look in known.items() if isinstance(look, dict)},
    )


def _looks(meta: Mapping[str, Any]) -> dict[str, Any]:
    colormap = meta["colormap"]
    return {
        "name": str(meta["name"]),
        "visible": bool(meta["visible"]),
        "colormap": str(getattr(colormap, "name", None) or colormap["name"]),
        "contrast_limits": [float(limit) for limit in meta["contrast_limits"]],
        **{key: float(meta[key]) for key in NUMBERS},
    }


def _valid(look: Mapping[str, Any]) -> dict[str, Any]:
    from napari.utils.colormaps import AVAILABLE_COLORMAPS

    found: dict[str, Any] = {key: look[key] for key in NUMBERS if isinstance(look.get(key), float)}
    if isinstance(look.get("name"), str):
        found["name"] = look["name"]
    if isinstance(look.get("visible"), bool):
        found["visible"] = look["visible"]
    if look.get("colormap") in AVAILABLE_COLORMAPS:
        found["colormap"] = look["colormap"]
    limits = look.get("contrast_limits")
    if (
        isinstance(limits, list)
        and len(limits) == 2
        and all(isinstance(n, float) for n in limits)
        and limits[0] < limits[1]
    ):
        found["contrast_limits"] = tuple(limits)
    return found
