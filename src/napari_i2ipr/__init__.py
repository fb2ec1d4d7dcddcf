"""Phase retrieval with I2I-PR: napari plugin, Python library and command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_i2ipr.batch import reconstruct_batch
    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Geometry, Measurement, Reconstruction
    from napari_i2ipr.errors import I2IPRError
    from napari_i2ipr.io import read, write
    from napari_i2ipr.pipeline import reconstruct
    from napari_i2ipr.simulation import simulate

__all__ = [
    "Config",
    "Geometry",
    "I2IPRError",
    "Measurement",
    "Reconstruction",
    "read",
    "reconstruct",
    "reconstruct_batch",
    "simulate",
    "write",
]

_HOME = {
    "Config": "config",
    "Geometry": "data",
    "I2IPRError": "errors",
    "Measurement": "data",
    "Reconstruction": "data",
    "read": "io",
    "reconstruct": "pipeline",
    "reconstruct_batch": "batch",
    "simulate": "simulation",
    "write": "io",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package stays light."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
