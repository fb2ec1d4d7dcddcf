"""What NeXus, CXI, Dectris and Hawk files say of the experiment, by the names that they use for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.data import Geometry
from napari_i2ipr.io import _lengths

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NODES = 20_000
"""Files with more groups and datasets are not searched to their end."""

_INSTRUMENT = ("instrument", "detector", "beam", "source", "monochromator")
_ROLES = {
    "wavelength": "wavelength",
    "incident_wavelength": "wavelength",
    "energy": "energy",
    "incident_energy": "energy",
    "photon_energy": "energy",
    "distance": "distance",
    "detector_distance": "distance",
    "x_pixel_size": "x",
    "y_pixel_size": "y",
    "beam_center_x": "centre x",
    "beam_center_y": "centre y",
    "saturation_value": "saturation",
    "countrate_correction_count_cutoff": "cutoff",
}
_PIXELS, _COUNTS = ("", "px", "pixel", "pixels"), ("", "count", "counts")
_COUNTED = {"centre x": _PIXELS, "centre y": _PIXELS, "saturation": _COUNTS, "cutoff": _COUNTS}
"""What is no length, and the units that it may have."""


@dataclass(frozen=True)
class Instrument:
    """What a file says of the experiment.

    Attributes
    ----------
    geometry : Geometry
        Lengths in metres.
    ignored : mapping
        Lengths that cannot be right, by name.
    centre_px : tuple of float or None
        Where the beam hits the detector, ``(y, x)`` in pixels.
    saturation : float or None
        Counts from which on pixels are saturated.
    """

    geometry: Geometry = field(default_factory=Geometry)
    ignored: Mapping[str, float] = field(default_factory=dict)
    centre_px: tuple[float, float] | None = None
    saturation: float | None = None

    def provenance(self, source: str, name: str, dataset: str | None = None) -> dict[str, Any]:
        """Provenance of the measurement, see `napari_i2ipr.io._lengths.source_provenance`."""
        return _lengths.source_provenance(
            source, name, dataset, ignored=self.ignored, centre_px=self.centre_px, saturation=self.saturation
        )


def instrument(file: Any, near: str = "") -> Instrument:
    """What an HDF5 file says, in datasets with the usual names below an instrument, detector, beam or source.

    Parameters
    ----------
    file : h5py.File
        The open file.
    near : str
        Path of the data: what lies in the same entry is preferred.
    """
    found = _values(file, near)
    lengths, ignored = _lengths.geometry(
        found.get("wavelength", found.get("energy")), found.get("distance"), found.get("y"), found.get("x")
    )
    y, x = found.get("centre y"), found.get("centre x")
    if y is None or x is None:
        y, x = _hawk_centre(file)
    centre = None if y is None or x is None or (y, x) == (0.0, 0.0) else (y, x)
    saturation = found.get("saturation", found.get("cutoff"))
    return Instrument(lengths, ignored, centre, saturation if saturation is not None and saturation > 0 else None)


def text(value: Any) -> str:
    """An HDF5 string, whichever way it was stored."""
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _hawk_centre(file: Any) -> tuple[float, float] | tuple[None, None]:
    """Hawk keeps ``image_center`` at the root, in the order of the axes."""
    import h5py

    node = file.get("image_center")
    if not isinstance(node, h5py.Dataset) or node.size not in {2, 3}:
        return None, None
    y, x = (_lengths.number(value) for value in np.ravel(node[()])[:2])
    return (None, None) if y is None or x is None else (y, x)


def _values(file: Any, near: str) -> dict[str, float]:
    """Values by their role, lengths in metres; those of the same entry win."""
    import h5py

    entry = near.strip("/").split("/")[0]
    found: list[tuple[bool, str, str, Any]] = []
    visited = 0

    def visit(name: str, node: Any) -> bool | None:
        nonlocal visited
        visited += 1
        parent, _, leaf = name.rpartition("/")
        role = _ROLES.get(leaf)
        if role and isinstance(node, h5py.Dataset) and any(word in parent.lower() for word in _INSTRUMENT):
            found.append((not name.startswith(entry), role, name, node))
        return True if visited >= MAX_NODES else None

    file.visititems(visit)
    values: dict[str, float] = {}
    for _, role, _, node in sorted(found, key=lambda hit: hit[:3]):
        value = _value(role, node)
        if value is not None:
            values.setdefault(role, value)
    return values


def _value(role: str, node: Any) -> float | None:
    if node.shape is None or node.size > 1_000_000 or node.dtype.kind not in "iuf":
        return None
    units = text(node.attrs["units"]) if "units" in node.attrs else ""
    value = node[()]
    if role in _COUNTED:
        return _lengths.number(value) if units.strip().lower() in _COUNTED[role] else None
    if role == "energy":
        return _lengths.wavelength_of_energy_m(value, units)
    return _lengths.length_m(value, units)
