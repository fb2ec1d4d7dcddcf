"""``i2ipr info``: what is in a pattern or a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _report
from napari_i2ipr.cli._terminal import guarded, number, print_json, print_table

if TYPE_CHECKING:
    from napari_i2ipr.data import Geometry, Measurement, Reconstruction


@guarded
def info(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Pattern, stack or result; file.h5::/path works too.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say what a pattern or a result holds.

    Of a pattern also what would be done to it before it is reconstructed, and whether it can be used.
    """
    from napari_i2ipr import io

    if io.is_result(file):
        result = io.read_result(file)
        values, rows = _result_values(result, file), _result_rows(result)
    else:
        values = _measurement_values(io.read(file), file)
        rows = _measurement_rows(values)
    if json:
        print_json(values)
    else:
        print_table({"file": file, **rows})


def _measurement_values(measurement: Measurement, file: str) -> dict[str, Any]:
    import numpy as np

    from napari_i2ipr.errors import I2IPRError
    from napari_i2ipr.prepare import condition

    frame = measurement.frame(0)
    finite = frame.intensity[np.isfinite(frame.intensity)] if frame.intensity.dtype.kind == "f" else frame.intensity
    values: dict[str, Any] = {
        "kind": "measurement",
        "file": file,
        "shape": list(measurement.shape),
        "axes": list(measurement.axes),
        "dtype": str(measurement.intensity.dtype),
        "min": float(finite.min()) if finite.size else None,
        "max": float(finite.max()) if finite.size else None,
        "mean": float(finite.mean()) if finite.size else None,
        "masked": _share(frame.bad_pixels),
        "support": _share(measurement.support),
        "intensity_scale": measurement.intensity_scale,
        "alpha": measurement.alpha,
        **_lengths(measurement.geometry, measurement.frame_shape),
        "provenance": measurement.provenance,
    }
    try:
        ready, notes = condition(frame)
        values |= {"usable": True, "notes": list(notes), "masked_when_used": _share(ready.bad_pixels) or 0.0}
    except I2IPRError as error:
        values |= {"usable": False, "notes": [str(error)], "masked_when_used": None}
    return values


def _measurement_rows(values: dict[str, Any]) -> dict[str, str]:
    sizes = " x ".join(str(n) for n in values["shape"])
    verdict = "usable as it is" if values["usable"] and not values["notes"] else "usable"
    what_is_done = "; ".join(values["notes"])
    masked = f"{_percent(values['masked'])} in the file" if values["masked"] is not None else "no mask in the file"
    if values["masked_when_used"] is not None:
        masked += f", {_percent(values['masked_when_used'])} when used"
    support = values["support"]
    least, most, mean = (number(values[name]) for name in ("min", "max", "mean"))
    return {
        "pattern": f"{sizes} ({', '.join(values['axes'])}), {values['dtype']}",
        "intensity": f"{least} to {most}, mean {mean} (first pattern)",
        "masked": masked,
        "support": f"{_percent(support)} of the frame"
        if support is not None
        else "none in the file: the half box is used",
        "noise": f"alpha {number(values['alpha'])}" if values["alpha"] is not None else "unknown: estimated",
        **_length_rows(values),
        "verdict": f"{verdict}{': ' + what_is_done if what_is_done else ''}"
        if values["usable"]
        else f"not usable: {what_is_done}",
    }


def _result_values(result: Reconstruction, file: str) -> dict[str, Any]:
    """Shape, units and provenance beside the summary that `reconstruct --json` prints."""
    return {
        "kind": "reconstruction",
        "file": file,
        **_report.summary(result, Path(file)),
        "axes": list(result.axes),
        "dtype": str(result.image.dtype),
        "frame_shape": list(result.frame_shape),
        "candidates": len(result.candidates),
        **_lengths(result.geometry, result.frame_shape),
        "provenance": result.provenance,
    }


def _result_rows(result: Reconstruction) -> dict[str, str]:
    y0, x0, h, w = result.box
    versions = result.provenance.get("versions", {})
    return {
        **_report.in_words(result),
        "place": f"rows {y0} to {y0 + h - 1}, columns {x0} to {x0 + w - 1} "
        f"of the {result.frame_shape[0]} x {result.frame_shape[1]} px frame",
        "made by": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "command": str(result.provenance.get("command", "")),
        "notes": "; ".join(result.provenance.get("notes", [])),
    }


def _lengths(geometry: Geometry, frame_shape: tuple[int, int]) -> dict[str, Any]:
    object_pixel = geometry.object_pixel_m(frame_shape)
    return {
        "wavelength_m": geometry.wavelength_m,
        "distance_m": geometry.distance_m,
        "pixel_size_m": list(geometry.pixel_size_m) if geometry.pixel_size_m else None,
        "object_pixel_m": list(object_pixel) if object_pixel else None,
    }


def _length_rows(values: dict[str, Any]) -> dict[str, str]:
    wavelength, distance, pixel = values["wavelength_m"], values["distance_m"], values["pixel_size_m"]
    known = [
        f"wavelength {number(wavelength * 1e9)} nm" if wavelength else "",
        f"distance {number(distance)} m" if distance else "",
        f"detector pixel {' x '.join(number(p * 1e6) for p in pixel)} um" if pixel else "",
        f"object pixel{_report.pixel_in_words(tuple(values['object_pixel_m']))}" if values["object_pixel_m"] else "",
    ]
    return {"geometry": ", ".join(filter(None, known)) or "unknown: lengths are in pixels"}


def _share(flags: Any) -> float | None:
    return None if flags is None else float((flags != 0).mean())


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
