"""What the user set in napari's Preferences, under I2I-PR Phase Retrieval: where the widgets begin.

The page is made by napari (0.9 and later) from ``configurations`` in the manifest, and napari keeps the
values in ``napari-i2ipr.yaml`` beside its own settings. Older versions have no such page: the defaults
count there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from napari_i2ipr.config import DEFAULT_PRESET, PRESETS, Compute

PLUGIN = "napari-i2ipr"
SECTION = "computing"
"""Key of the page's section in the manifest."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Where to compute."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preferences:
    """The user's defaults; without a page of preferences these are the program's.

    Attributes
    ----------
    device : str
        One of `DEVICES`.
    memory_fraction : float
        Share of the free memory that may be used, above 0, at most 1.
    preset : str
        Preset of a new run.
    """

    device: str = DEVICES[0]
    memory_fraction: float = float(Compute().memory_fraction)
    preset: str = DEFAULT_PRESET


def preferences() -> Preferences:
    """The user's defaults as of now; what is missing or out of range has the program's."""
    section = _section()
    usual = Preferences()
    device = getattr(section, "device", usual.device)
    fraction = getattr(section, "memory_fraction", usual.memory_fraction)
    preset = getattr(section, "preset", usual.preset)
    return Preferences(
        device=device if device in DEVICES else usual.device,
        memory_fraction=float(fraction) if 0 < fraction <= 1 else usual.memory_fraction,
        preset=preset if preset in PRESETS else usual.preset,
    )


def _section() -> Any:
    """Our section of napari's settings, None where there is none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari before 0.9
        return None
    try:
        return getattr(get_plugin_settings(PLUGIN), SECTION, None)
    except KeyError:  # napari runs without our manifest, as in another plugin's tests
        log.info("napari knows no settings of %s", PLUGIN)
        return None
