"""Every setting of the preparation and every default, once: YAML, command line and forms are generated from here."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.prepare.descriptions import DESCRIPTIONS
from napari_i2ipr.sections import Section

CENTER_WORDS = ("auto", "keep")
"""What `Preparation.center` says other than a pixel."""

BACKGROUND_WORDS = ("none", "auto", "radial")
"""What `Preparation.background` says other than a level."""

SIZE_WORDS = ("auto", "keep")
"""What `Preparation.size` says other than a number of pixels."""


def _text(value: Any) -> str:
    """Words and numbers as one text, lists with commas."""
    if isinstance(value, list | tuple):
        return ",".join(f"{v:g}" if isinstance(v, int | float) else str(v) for v in value)
    return f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value).strip()


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []


def _center(value: Any) -> str:
    text = _text(value)
    if text not in CENTER_WORDS and len(_numbers(text)) != 2:
        raise ConfigError(
            f"the centre {text!r}", expected='"auto", "keep" or Y,X in pixels', do='write e.g. "127.5,128"'
        )
    return text


def _background(value: Any) -> str:
    text = _text(value)
    if text not in BACKGROUND_WORDS and len(_numbers(text)) != 1:
        raise ConfigError(f"the background {text!r}", expected='"none", "auto", "radial" or a level')
    return text


def _size(value: Any) -> str:
    text = _text(value)
    found = _numbers(text)
    if text not in SIZE_WORDS and not (len(found) in (1, 2) and all(n == int(n) and 0 < n <= 1_000_000 for n in found)):
        raise ConfigError(f"the size {text!r}", expected='"auto", "keep", N or NY,NX in pixels')
    return text


class Preparation(Section):
    """All settings of a preparation; frozen, validated, unknown names refused."""

    shown_by: ClassVar[str] = "i2ipr config --prepare"

    frame: int = Field(-1, ge=-1, description=DESCRIPTIONS["frame"])
    sum_frames: bool = Field(False, description=DESCRIPTIONS["sum_frames"])
    outlier_sigma: float = Field(6.0, ge=0, le=1000, description=DESCRIPTIONS["outlier_sigma"])
    amplitude: Literal["auto", "yes", "no"] = Field("auto", description=DESCRIPTIONS["amplitude"])
    fft_order: Literal["auto", "yes", "no"] = Field("auto", description=DESCRIPTIONS["fft_order"])
    invert_mask: bool = Field(False, description=DESCRIPTIONS["invert_mask"])
    allow_masked: bool = Field(False, description=DESCRIPTIONS["allow_masked"])
    saturation: float = Field(0.0, ge=0, description=DESCRIPTIONS["saturation"])
    grow_px: int = Field(0, ge=0, le=100, description=DESCRIPTIONS["grow_px"])
    hot_dead: bool = Field(True, description=DESCRIPTIONS["hot_dead"])
    background: Annotated[str, BeforeValidator(_background)] = Field("none", description=DESCRIPTIONS["background"])
    center: Annotated[str, BeforeValidator(_center)] = Field("auto", description=DESCRIPTIONS["center"])
    fit: Literal["crop", "pad"] = Field("crop", description=DESCRIPTIONS["fit"])
    size: Annotated[str, BeforeValidator(_size)] = Field("auto", description=DESCRIPTIONS["size"])
    binning: int = Field(1, ge=1, le=64, description=DESCRIPTIONS["binning"])
    bin_share: float = Field(0.0, ge=0, lt=1, description=DESCRIPTIONS["bin_share"])
    gap_tolerance: float = Field(0.0, ge=0, le=1, description=DESCRIPTIONS["gap_tolerance"])
    gain: float = Field(0.0, ge=0, le=1e12, description=DESCRIPTIONS["gain"])

    @property
    def center_px(self) -> tuple[float, float] | None:
        """The given centre ``(y, x)``, None where it is not a pixel."""
        found = _numbers(self.center)
        return (found[0], found[1]) if found else None

    @property
    def background_level(self) -> float | None:
        """The given level, None where it is not a number."""
        found = _numbers(self.background)
        return found[0] if found else None

    @property
    def size_px(self) -> tuple[int, int] | None:
        """The given size ``(y, x)``, None where it is not a number."""
        found = _numbers(self.size)
        return (int(found[0]), int(found[-1])) if found else None
