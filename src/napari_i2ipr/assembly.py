"""The outcomes of all frames put together: one reconstruction in numpy and object units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr.data import Measurement, Reconstruction, Status
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Candidate
    from napari_i2ipr.shells import Shells


@dataclass(frozen=True)
class Part:
    """The outcome of one frame, in numpy and object units."""

    image: np.ndarray[Any, Any]
    uncertainty: np.ndarray[Any, Any]
    classical: np.ndarray[Any, Any]
    kind: str
    scales: dict[str, float]
    images: np.ndarray[Any, Any]
    rows: list[Candidate]
    scores: dict[str, Any]
    status: Status
    notes: tuple[str, ...]
    box: tuple[int, int, int, int]
    shells: Shells
    fingerprint: str


def assembled(
    measurement: Measurement,
    config: Config,
    device: torch.device,
    parts: list[Part],
    weights: dict[str, str] | None,
) -> Reconstruction:
    """One reconstruction of all frames; frames not reached after a stop are NaN."""
    lead = measurement.lead_shape
    missing = measurement.n_frames - len(parts)

    box = _union([part.box for part in parts])

    def stacked(name: str) -> np.ndarray[Any, Any]:
        arrays = [_widened(getattr(part, name), part.box, box) for part in parts]
        arrays += [np.full_like(arrays[0], np.nan)] * missing
        return np.stack(arrays).reshape(*lead, *arrays[0].shape)

    kinds = {part.kind for part in parts}
    items = [part.scores for part in parts]
    scores = dict(items[0]) if not lead else {**mean_scores(items), "items": items}
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    return Reconstruction(
        image=stacked("image"),
        uncertainty=stacked("uncertainty"),
        box=box,
        frame_shape=measurement.frame_shape,
        uncertainty_kind=kinds.pop() if len(kinds) == 1 else "mixed",
        interval_scales=parts[0].scales if all(part.scales == parts[0].scales for part in parts) else {},
        classical=None if weights is None else stacked("classical"),
        status=Status.CANCELLED if missing else worst(part.status for part in parts),
        scores=scores,
        candidates=[row for part in parts for row in part.rows],
        candidate_images=stacked("images") if config.keep_candidates else None,
        shells=_stacked_shells([part.shells for part in parts], missing, lead),
        geometry=measurement.geometry,
        axes=measurement.axes,
        provenance={
            "input": measurement.provenance,
            "notes": notes,
            "fingerprints": [part.fingerprint for part in parts],
            "config": config.to_dict(),
            "device": str(device),
            "weights": weights,
            "versions": _versions(),
        },
    )


def _stacked_shells(found: list[Shells], missing: int, lead: tuple[int, ...]) -> Shells:
    """The shells of all frames as one value, NaN for frames that were not reached."""
    tables = [one.table() for one in found]
    tables += [np.full_like(tables[0], np.nan)] * missing
    table = np.stack(tables).reshape(*lead, *tables[0].shape)
    return found[0].from_table(found[0].frequency, found[0].n_starts, table)


def _union(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """The smallest box ``(y0, x0, h, w)`` that holds all; supports found by themselves may differ."""
    y0, x0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return y0, x0, max(box[0] + box[2] for box in boxes) - y0, max(box[1] + box[3] for box in boxes) - x0


def _widened(
    images: np.ndarray[Any, Any], own: tuple[int, int, int, int], box: tuple[int, int, int, int]
) -> np.ndarray[Any, Any]:
    """Images ``(..., h, w)`` of one box in a larger one, zero around them."""
    before = own[0] - box[0], own[1] - box[1]
    after = box[2] - own[2] - before[0], box[3] - own[3] - before[1]
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + list(zip(before, after, strict=True)))


def mean_scores(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores of a stack from those of its frames: means, of counts and times the sums."""
    summed = ("image_iterations", "solver_seconds", "refine_seconds")
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for item in items for name in item):
        values = [item[name] for item in items if isinstance(item.get(name), int | float)]
        means[name] = (sum(values) / (1 if name in summed else len(values))) if values else None
    return means


def worst(statuses: Iterable[Status]) -> Status:
    """The one that the user most needs to hear of."""
    order = [Status.DONE, Status.CONVERGED, Status.OUT_OF_DOMAIN, Status.DIVERGED, Status.CANCELLED]
    return max(statuses, key=order.index)


def _versions() -> dict[str, str]:
    return {"napari-i2ipr": program_version(), "torch": torch.__version__, "numpy": np.__version__}
