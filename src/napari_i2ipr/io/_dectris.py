"""The words that Dectris detectors write into their CBF and TIFF files, one ``# Name value unit`` a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from napari_i2ipr.io import _lengths
from napari_i2ipr.io._nexus import Instrument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LINE = re.compile(r"^\s*#?\s*([A-Za-z_]+)\s*[:=]?\s+(.*?)\s*$", re.MULTILINE)
_VALUE = re.compile(r"^\(?\s*([-+0-9.eE]+)\s*([A-Za-zåÅµμ]*)")
_SIDES = re.compile(r"^([-+0-9.eE]+)\s*([A-Za-zµμ]+)\s*x\s*([-+0-9.eE]+)\s*([A-Za-zµμ]+)")
_PLACE = re.compile(r"^\(\s*([-+0-9.eE]+)\s*,\s*([-+0-9.eE]+)\s*\)")


def instrument(words: str) -> Instrument:
    """What such a header says of the experiment.

    Parameters
    ----------
    words : str
        The header, e.g. ``# Detector_distance 0.3 m``; lines that are not understood are left out.

    Returns
    -------
    Instrument
        Lengths in metres, a wavelength without a unit being in angstrom; a beam at (0, 0) is none.
    """
    lines = dict(reversed(_LINE.findall(words)))  # the first of several lines counts
    distance = _length(lines.get("Detector_distance", ""), "m")
    wavelength = _length(lines.get("Wavelength", ""), "a")
    x, y = _sides(lines.get("Pixel_size", ""))
    lengths, ignored = _lengths.geometry(wavelength, distance, y, x)
    place = _PLACE.match(lines.get("Beam_xy", ""))
    at = [_lengths.number(one) for one in place.groups()] if place else []
    centre = (at[1], at[0]) if len(at) == 2 and at[0] is not None and at[1] is not None and any(at) else None
    cutoff = _VALUE.match(lines.get("Count_cutoff", ""))
    level = _lengths.number(cutoff.group(1)) if cutoff else None
    return Instrument(lengths, ignored, centre, level if level is not None and level > 0 else None)


def bad_pixels(frame: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels that the detector flags by negative numbers (gaps -1, defects -2); None where there are none."""
    if frame.dtype.kind != "i":
        return None
    bad: NDArray[np.bool_] = frame < 0
    return bad if bad.any() else None


def _length(text: str, units: str) -> float | None:
    found = _VALUE.match(text)
    return _lengths.length_m(found.group(1), found.group(2) or units) if found else None


def _sides(text: str) -> tuple[float | None, float | None]:
    """Pixel sides ``(x, y)`` in metres."""
    found = _SIDES.match(text)
    if not found:
        return None, None
    return _lengths.length_m(found.group(1), found.group(2)), _lengths.length_m(found.group(3), found.group(4))
