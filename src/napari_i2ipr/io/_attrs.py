"""The words around the arrays, as JSON: how geometry, scores, candidates and provenance are kept in files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from os import PathLike
from typing import Any

import numpy as np

from napari_i2ipr.data import Candidate, Geometry, Measurement, Reconstruction, Status
from napari_i2ipr.errors import FormatError, InputError
from napari_i2ipr.shells import CURVES, Shells
from napari_i2ipr.version import program_version

KEY = "napari_i2ipr"
"""Name of our attributes, group and marker in every format."""

PROGRAM = "napari-i2ipr"
SCHEMA_VERSION = 1


def plain(value: Any) -> Any:
    """The value in JSON's types: NaN and infinity become None, tuples and arrays lists, numpy numbers Python's.

    Raises
    ------
    InputError
        If something in it has no such form.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    elif isinstance(value, Enum):
        value = value.name
    elif isinstance(value, PathLike):
        value = str(value)
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise InputError(
        f"a {type(value).__name__} in the provenance or scores",
        expected="numbers, text, lists and dictionaries",
        do="take it out or convert it before writing",
    )


def dumps(value: Any) -> str:
    """JSON text of `plain` values."""
    return json.dumps(plain(value))


def geometry_plain(geometry: Geometry) -> dict[str, Any]:
    """Geometry as a dictionary, lengths in metres."""
    found = {field.name: getattr(geometry, field.name) for field in fields(geometry)}
    return dict(plain(found))


def geometry_from(found: Mapping[str, Any] | None) -> Geometry:
    """Geometry of such a dictionary."""
    values = dict(found or {})
    pixel = values.get("pixel_size_m")
    return Geometry(
        wavelength_m=values.get("wavelength_m"),
        distance_m=values.get("distance_m"),
        pixel_size_m=None if pixel is None else (float(pixel[0]), float(pixel[1])),
    )


def header(kind: str) -> dict[str, Any]:
    """Who wrote the file, which kind of ours it is, and in which version of the layout."""
    return {"schema_version": SCHEMA_VERSION, "kind": kind, "program": PROGRAM, "version": program_version()}


def check_header(found: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse a file of another kind or of a newer layout.

    Raises
    ------
    FormatError
        If it is either.
    """
    if found.get("kind") != kind:
        raise FormatError(f"{where}, which holds a {found.get('kind', 'foreign')}", expected=f"a {kind}")
    schema = found.get("schema_version")
    if not isinstance(schema, int) or schema > SCHEMA_VERSION:
        raise FormatError(
            f"{where} with schema version {schema}",
            expected=f"at most {SCHEMA_VERSION}",
            do="read it with a newer napari-i2ipr",
        )


def measurement_plain(measurement: Measurement) -> dict[str, Any]:
    """Everything of a measurement but its arrays."""
    return {
        **header("measurement"),
        "intensity_scale": float(measurement.intensity_scale),
        "alpha": None if measurement.alpha is None else float(measurement.alpha),
        "geometry": geometry_plain(measurement.geometry),
        "axes": list(measurement.axes),
        "provenance": plain(measurement.provenance),
    }


def provenance_from(found: Mapping[str, Any], source: str, name: str) -> dict[str, Any]:
    """Stored provenance with the file it now comes from; what it came from before moves to ``origin``."""
    kept = dict(found)
    before = {key: kept.pop(key) for key in ("source", "format", "dataset", "origin") if key in kept}
    return {**kept, "source": source, "format": name, **({"origin": before} if before else {})}


def reconstruction_plain(result: Reconstruction) -> dict[str, Any]:
    """Everything of a reconstruction but its arrays."""
    return {
        **header("reconstruction"),
        "status": result.status.name,
        "uncertainty_kind": result.uncertainty_kind,
        "interval_scales": plain(result.interval_scales),
        "box": plain(result.box),
        "frame_shape": plain(result.frame_shape),
        "lead_shape": plain(np.shape(result.image)[:-2]),
        "axes": list(result.axes),
        "geometry": geometry_plain(result.geometry),
        "scores": plain(result.scores),
        "candidates": [plain({f.name: getattr(row, f.name) for f in fields(row)}) for row in result.candidates],
        "provenance": plain(result.provenance),
    }


def reconstruction_from(
    found: Mapping[str, Any],
    image: Any,
    uncertainty: Any,
    *,
    candidate_images: Any = None,
    classical: Any = None,
    shells: Shells | None = None,
) -> Reconstruction:
    """Reconstruction of its dictionary and arrays; in scores and candidates None is NaN again.

    Files from before there was a refinement hold neither a classical mean nor scales of intervals; those from
    before there were shells hold none.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing or of another type (the readers make a FormatError of it).
    """
    lead = tuple(int(n) for n in found["lead_shape"])
    y0, x0, height, width = (int(n) for n in found["box"])
    frame_y, frame_x = (int(n) for n in found["frame_shape"])
    if candidate_images is not None:
        candidate_images = candidate_images.reshape((*lead, -1, *candidate_images.shape[-2:]))
    return Reconstruction(
        image=image.reshape((*lead, *image.shape[-2:])),
        uncertainty=uncertainty.reshape((*lead, *uncertainty.shape[-2:])),
        box=(y0, x0, height, width),
        frame_shape=(frame_y, frame_x),
        status=Status[found["status"]],
        uncertainty_kind=str(found["uncertainty_kind"]),
        interval_scales={str(level): float(scale) for level, scale in found.get("interval_scales", {}).items()},
        classical=None if classical is None else classical.reshape((*lead, *classical.shape[-2:])),
        scores=_with_nan(dict(found["scores"])),
        candidates=[_candidate(row) for row in found["candidates"]],
        candidate_images=candidate_images,
        shells=shells,
        geometry=geometry_from(found["geometry"]),
        axes=tuple(str(name) for name in found["axes"]),
        provenance=dict(found["provenance"]),
    )


def shells_plain(shells: Shells) -> dict[str, Any]:
    """What says what the rows and columns of `Shells.table` are."""
    return {"curves": list(CURVES), "frequency": plain(shells.frequency), "n_starts": int(shells.n_starts)}


def shells_from(found: Mapping[str, Any], table: Any) -> Shells:
    """Shells of such a description and the table; curves that this version does not know are left out.

    Raises
    ------
    KeyError, TypeError, ValueError
        If something is missing or of another type (the readers make a FormatError of it).
    """
    names = [str(name) for name in found["curves"]]
    rows = table[..., [names.index(name) for name in CURVES], :]
    return Shells.from_table(np.asarray(found["frequency"], np.float64), int(found["n_starts"]), rows)


def _with_nan(value: Any) -> Any:
    if value is None:
        return math.nan
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    return [_with_nan(item) for item in value] if isinstance(value, list) else value


def _candidate(row: Mapping[str, Any]) -> Candidate:
    values = {field.name: row[field.name] for field in fields(Candidate)}
    for name in ("score", "residual", "free_score", "outside", "twin_margin", "weight"):
        values[name] = math.nan if values[name] is None else float(values[name])
    y, x = _with_nan(values["shift_px"])
    return Candidate(**{**values, "shift_px": (float(y), float(x))})
