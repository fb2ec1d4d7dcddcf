"""Iterative phase-retrieval methods, their wrappers, the loop and the multi-start.

A new method is one file and one line in `METHODS`.
"""

from __future__ import annotations

from typing import Any

from napari_i2ipr.solvers._base import Method
from napari_i2ipr.solvers.acceleration import Accelerated, Averaged
from napari_i2ipr.solvers.cf import CF
from napari_i2ipr.solvers.detwin import Detwinned
from napari_i2ipr.solvers.dm import DM
from napari_i2ipr.solvers.er import ER
from napari_i2ipr.solvers.hio import HIO
from napari_i2ipr.solvers.ml import ML
from napari_i2ipr.solvers.oss import OSS
from napari_i2ipr.solvers.partial import PartlyCoherent
from napari_i2ipr.solvers.raar import RAAR
from napari_i2ipr.solvers.wf import WF, Spectral

__all__ = ["METHODS", "WRAPPERS", "Method"]

METHODS: dict[str, type[Method]] = {
    "ER": ER,
    "HIO": HIO,
    "RAAR": RAAR,
    "DM": DM,
    "OSS": OSS,
    "CF": CF,
    "ML": ML,
    "WF": WF,
    "SPECTRAL": Spectral,
}
"""Every method by its name in schedules."""

WRAPPERS: dict[str, Any] = {"acc": Accelerated, "avg": Averaged, "detwin": Detwinned, "pc": PartlyCoherent}
"""Every wrapper by the name that follows a ``+`` in schedules."""
