"""What a report says in words: scores with their units, parameters and versions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.evaluate.resolution import ENOUGH_STARTS

if TYPE_CHECKING:
    from napari_i2ipr.data import Reconstruction
    from napari_i2ipr.evaluate.quality import Quality
    from napari_i2ipr.evaluate.resolution import Curve


def score_rows(reconstruction: Reconstruction, quality: Quality) -> dict[str, str]:
    """Names and values of the scores of one image, for a reader; rows without a value are left out."""
    scores, found = quality.scores, quality.agreement
    refined = ", classical mean " + number(scores["r_factor_classical"]) if reconstruction.scores.get("refined") else ""
    rows = {
        "R-factor": f"{number(scores.get('r_factor'))} (best candidate {number(scores.get('r_factor_best'))}{refined})",
        "chi": number(scores.get("chi")),
        "free score": number(scores.get("free_score")),
        "energy outside": _percent(scores.get("outside", math.nan)),
        "reproducibility": _starts(quality),
    }
    if found is not None:
        rows |= {
            "pattern: R, chi": f"{number(found.r_factor)}, {number(found.chi)} on {found.measured:,} measured pixels"
            + (f"; noise alone gives R {number(found.r_factor_noise)}" if math.isfinite(found.r_factor_noise) else ""),
            "log-likelihood": f"{number(found.log_likelihood)} (ideal 1; {number(found.photons, 3)} photons, counted "
            f"{found.counted_by})"
            if math.isfinite(found.log_likelihood)
            else f"- (photons {found.counted_by})",
        }
    for name, label in _CURVES.items():
        if name in quality.curves:
            few = name in ("prtf", "prtf_phase") and quality.n_starts < ENOUGH_STARTS
            rows[label] = f"needs {ENOUGH_STARTS} independent starts or more" if few else in_words(quality.curves[name])
    norm = float(np.linalg.norm(reconstruction.image))
    mean = float(np.linalg.norm(reconstruction.uncertainty)) / norm if norm > 0 else math.nan
    rows["uncertainty"] = f"{_percent(mean)} of the image's norm ({reconstruction.uncertainty_kind})"
    rows["status"] = reconstruction.status.value
    return {name: text for name, text in rows.items() if text not in ("", "-")}


_CURVES = {
    "prtf": "PRTF 1/e",
    "prtf_phase": "PRTF 1/e, phases",
    "prtf_corrected": "... many starts",
    "frc": "FRC half-bit",
    "frc_classical": "... classical mean",
    "reproducibility": "starts agree to",
}


def in_words(curve: Curve) -> str:
    """Where a curve crosses its threshold, as full and half period."""
    if math.isnan(curve.crossing):
        return "none: it is nowhere above the threshold"
    full, half = curve.full_period_px, curve.half_period_px
    nm = "" if curve.pixel_m is None else f", half {half * curve.pixel_m * 1e9:.3g} nm"
    words = f"full period {full:.3g} px, half {half:.3g} px{nm}"
    return f"{words}: the detector's edge" if curve.limited_by_edge else words


def parameters(reconstruction: Reconstruction) -> dict[str, str]:
    """Settings, seeds, versions and input that made the image."""
    known = reconstruction.provenance
    config: dict[str, Any] = known.get("config") or {}
    weights = known.get("weights") or {}
    source = known.get("pattern", {}).get("file") or known.get("input", {}).get("source", "")
    starts = config.get("initialisation", {})
    rows = {
        "pattern": str(source),
        "frame": " x ".join(str(n) for n in reconstruction.frame_shape) + " px",
        "object pixel": _pixel(reconstruction.pixel_m),
        "preset": config.get("preset", ""),
        "object": config.get("object", ""),
        "seed": config.get("seed", ""),
        "starts": f"{config.get('members', 1)} sets of {starts.get('n_starts', '?')}, {starts.get('n_keep', '?')} kept",
        "schedule": " | ".join(str(starts[name]) for name in ("short", "long", "final") if starts.get(name)),
        "weights": f"{weights['name']} ({weights['sha256'][:12]})" if weights else "none",
        "device": known.get("device", ""),
        "versions": ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items()),
        "command": known.get("command", ""),
        "notes": " ".join(f"{note}." for note in known.get("notes", [])),
    }
    return {name: str(value) for name, value in rows.items() if value not in ("", None)}


def _starts(quality: Quality) -> str:
    r = quality.scores.get("reproducibility", math.nan)
    return "" if math.isnan(r) else f"{number(r, 3)}, correlation of two of {quality.n_starts} independent starts"


def _pixel(pixel_m: tuple[float, float] | None) -> str:
    return "unknown" if pixel_m is None else " x ".join(f"{1e9 * side:.4g}" for side in pixel_m) + " nm"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.3g} %"


def number(value: Any, digits: int = 4) -> str:
    """A number for reading; a dash where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}g}"
