"""From what a detector saw to what can be reconstructed.

`condition` refuses, mends and guesses what every reconstruction needs; `prepare` does all that measured data
need beyond it: several frames, dark, flat, background, centre, cropping, binning, gaps, photons. Both say
what they did. Nothing here looks at an object: only at the pattern and its mask.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_i2ipr.prepare.conditioning import PREPARED, condition, summary
    from napari_i2ipr.prepare.preparation import PREPARATION, prepare
    from napari_i2ipr.prepare.report import PreparationReport
    from napari_i2ipr.prepare.settings import Preparation

__all__ = ["PREPARATION", "PREPARED", "Preparation", "PreparationReport", "condition", "prepare", "summary"]

_HOME = {
    "PREPARATION": "preparation",
    "PREPARED": "conditioning",
    "Preparation": "settings",
    "PreparationReport": "report",
    "condition": "conditioning",
    "prepare": "preparation",
    "summary": "conditioning",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that settings open without the numerical libraries."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
