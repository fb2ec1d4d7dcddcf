"""Lengths found in files, in metres: units are converted, what cannot be a length of an experiment is left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Geometry

if TYPE_CHECKING:
    from collections.abc import Mapping

PLANCK_J_S = 6.62607015e-34
LIGHT_M_S = 299792458.0
EV_J = 1.602176634e-19

_METRES = {
    "m": 1.0,
    "meter": 1.0,
    "metre": 1.0,
    "meters": 1.0,
    "metres": 1.0,
    "cm": 1e-2,
    "mm": 1e-3,
    "millimeter": 1e-3,
    "millimetre": 1e-3,
    "um": 1e-6,
    "µm": 1e-6,
    "μm": 1e-6,
    "micron": 1e-6,
    "microns": 1e-6,
    "micrometer": 1e-6,
    "micrometre": 1e-6,
    "nm": 1e-9,
    "nanometer": 1e-9,
    "nanometre": 1e-9,
    "a": 1e-10,
    "å": 1e-10,
    "ang": 1e-10,
    "angstrom": 1e-10,
    "angstroms": 1e-10,
    "pm": 1e-12,
}
_JOULES = {"j": 1.0, "joule": 1.0, "ev": EV_J, "kev": 1e3 * EV_J, "mev": 1e6 * EV_J}
_PLAUSIBLE_M = {"wavelength": (1e-13, 1e-3), "distance": (1e-6, 1e4), "pixel": (1e-10, 1e-1)}


def number(value: Any) -> float | None:
    """A scalar from a scalar, an array of equal values or text; None when it is neither."""
    try:
        values = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    if values.size == 0 or not np.all(np.isfinite(values)) or np.ptp(values) > 1e-6 * abs(float(values[0])):
        return None
    return float(values[0])


def length_m(value: Any, units: str = "") -> float | None:
    """Length in metres; without units it is taken as metres."""
    found, factor = number(value), _METRES.get(units.strip().lower(), None if units.strip() else 1.0)
    return None if found is None or factor is None else found * factor


def wavelength_of_energy_m(value: Any, units: str = "") -> float | None:
    """Wavelength in metres of a photon energy.

    Without units a value below 1e-10 is in joules (no photon has more), any other in electronvolts.
    """
    found = number(value)
    if found is None or not found > 0:
        return None
    key = units.strip().lower()
    factor = _JOULES.get(key) if key else (1.0 if found < 1e-10 else EV_J)
    return None if factor is None else PLANCK_J_S * LIGHT_M_S / (found * factor)


def geometry(
    wavelength_m: float | None, distance_m: float | None, pixel_y_m: float | None, pixel_x_m: float | None
) -> tuple[Geometry, dict[str, float]]:
    """Geometry of what is plausible, and what was left out.

    Parameters
    ----------
    wavelength_m, distance_m, pixel_y_m, pixel_x_m : float or None
        Lengths as found; one pixel side stands for a missing other.

    Returns
    -------
    tuple
        The geometry and the values that cannot be right, by name, for the provenance.
    """
    ignored: dict[str, float] = {}

    def plausible(name: str, kind: str, value: float | None) -> float | None:
        low, high = _PLAUSIBLE_M[kind]
        if value is None or low <= value <= high:
            return value
        if math.isfinite(value) and value != 0:
            ignored[name] = value
        return None

    y = plausible("pixel_size_y_m", "pixel", pixel_y_m)
    x = plausible("pixel_size_x_m", "pixel", pixel_x_m)
    y, x = (x if y is None else y), (y if x is None else x)
    found = Geometry(
        wavelength_m=plausible("wavelength_m", "wavelength", wavelength_m),
        distance_m=plausible("distance_m", "distance", distance_m),
        pixel_size_m=None if y is None or x is None else (y, x),
    )
    return found, ignored


def source_provenance(
    source: str,
    name: str,
    dataset: str | None = None,
    *,
    ignored: Mapping[str, float] | None = None,
    centre_px: tuple[float, float] | None = None,
    saturation: float | None = None,
) -> dict[str, Any]:
    """Provenance of a measurement that was just read.

    Parameters
    ----------
    source : str
        The file as the user named it.
    name : str
        Name of the format.
    dataset : str, optional
        Where the data lie in the file.
    ignored : mapping, optional
        Lengths of the file that cannot be right.
    centre_px : tuple of float, optional
        Where the file says that the beam hits the detector, ``(y, x)`` in pixels.
    saturation : float, optional
        Counts from which on the file says that the detector is saturated.
    """
    found: dict[str, Any] = {"source": source, "format": name}
    if dataset:
        found["dataset"] = dataset
    if ignored:
        found["geometry_ignored"] = dict(ignored)
    if centre_px is not None:
        found["center_px"] = list(centre_px)
    if saturation is not None:
        found["saturation_value"] = saturation
    return found
