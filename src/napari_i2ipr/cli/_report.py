"""A reconstruction in words and as JSON."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_i2ipr.cli._terminal import number
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from napari_i2ipr.data import Reconstruction


def summary(result: Reconstruction, output: Path) -> dict[str, Any]:
    """What `--json` prints of a reconstruction.

    Iterations and seconds of a stack are sums at the top, and means under ``mean``, as all other numbers are;
    ``refined`` of a stack is the share of its images that were refined.
    """
    provenance, scores = result.provenance, {**_UNREFINED, **result.scores}
    settings = provenance.get("config", {})
    found: dict[str, Any] = {
        "status": result.status.name,
        "output": str(output),
        "device": provenance.get("device"),
        "seed": settings.get("seed"),
        "preset": settings.get("preset"),
        **{name: value for name, value in scores.items() if name != "items"},
        "weights_sha256": (provenance.get("weights") or {}).get("sha256"),
        "uncertainty_kind": result.uncertainty_kind,
        "shape": list(result.image.shape),
        "box": list(result.box),
        "notes": provenance.get("notes", []),
        "version": program_version(),
    }
    if "items" in scores:
        items = [{**_UNREFINED, **item} for item in scores["items"]]
        found |= {"items": items, "mean": _means(items)}
    return found


_UNREFINED = {"refined": False, "refine_seconds": 0.0}
"""What the scores of a classical reconstruction leave out."""


def in_words(result: Reconstruction) -> dict[str, str]:
    """What a reconstruction is and how good, for a reader."""
    scores, settings = result.scores, result.provenance.get("config", {})
    items = scores.get("items", [])
    lead = f"{len(items)} images of " if items else ""
    h, w = result.image.shape[-2:]
    import numpy as np

    kept, averaged = len(result.candidates), sum(row.weight > 0 for row in result.candidates)
    mean = float(np.nanmean(result.uncertainty))
    return {
        "image": f"{lead}{h} x {w} px{pixel_in_words(result.pixel_m)}",
        "status": result.status.value,
        "R-factor": f"{number(scores.get('r_factor'))} (best candidate {number(scores.get('r_factor_best'))}"
        + (f", classical mean {number(scores.get('r_factor_classical'))})" if scores.get("refined") else ")"),
        "free score": f"{number(scores.get('free_score'))}, the best candidate's misfit on pixels it never saw",
        "refinement": refinement_in_words(result),
        "uncertainty": f"{number(mean, 3)} in the mean ({_kind_in_words(result)})",
        "candidates": f"{kept} kept, {averaged} of them averaged" if kept else "",
        "work": f"{scores.get('image_iterations', 0):.0f} image-iterations in "
        f"{number(scores.get('solver_seconds'), 3)} s on {result.provenance.get('device', 'an unknown device')}",
        "settings": f"preset {settings.get('preset')}, seed {settings.get('seed')}",
    }


def refinement_in_words(result: Reconstruction) -> str:
    """Whether a reconstruction was refined, with what and how long, or why not; empty for results of older versions."""
    items = result.scores.get("items") or [result.scores]
    settings = result.provenance.get("config", {}).get("refine")
    if settings is None:
        return ""
    if not settings.get("enabled"):
        return "off: the classical mean is the result"
    if "refine_skipped" in items[0]:
        return f"skipped ({items[0]['refine_skipped']}): the classical mean is the result"
    done = sum(bool(item.get("refined")) for item in items)
    fell_back = sum("chi_ratio" in item for item in items) - done
    if not done and not fell_back:
        return "stopped before its end: the classical mean is the result"
    of = "" if len(items) == 1 else f" ({{}} of {len(items)} images)"
    name = (result.provenance.get("weights") or {}).get("name", "unknown weights")
    parts = [
        f"by {name}{of.format(done)}" if done else "",
        f"fell back to the classical mean{of.format(fell_back)}" if fell_back else "",
        _misfit_in_words(result.scores),
        f"{number(result.scores.get('refine_seconds'), 3)} s",
    ]
    return ", ".join(filter(None, parts))


def _misfit_in_words(scores: dict[str, Any]) -> str:
    limit = number(scores.get("chi_ratio_limit"), 3)
    usual = "" if limit == "-" else f" (at most {limit} is usual)"
    return f"misfit {number(scores.get('chi_ratio'), 3)} times that of classical mean or noise{usual}"


def _kind_in_words(result: Reconstruction) -> str:
    scale = result.interval_scales.get("0.9")
    if scale is not None:
        return f"{result.uncertainty_kind}: {number(scale, 3)} times it either way is the 90 % interval"
    return "raw: the weights hold no calibration" if result.uncertainty_kind == "raw" else result.uncertainty_kind


def pixel_in_words(pixel_m: tuple[float, float] | None) -> str:
    """``" of 12.5 nm"``, empty where the pixel is unknown."""
    if pixel_m is None:
        return ""
    unit, factor = next(((u, f) for u, f, limit in _LENGTHS if max(pixel_m) < limit), ("mm", 1e3))
    y, x = (number(length * factor) for length in pixel_m)
    return f" of {y} {unit}" if y == x else f" of {y} x {x} {unit}"


_LENGTHS = (("nm", 1e9, 1e-6), ("um", 1e6, 1e-3))


def _means(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean of every number over the items that have it."""
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for item in items for name in item):
        values = [v for item in items if isinstance(v := item.get(name), int | float) and math.isfinite(v)]
        means[name] = sum(values) / len(values) if values else None
    return means
