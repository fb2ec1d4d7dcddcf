"""A result averaged again from the candidates that someone keeps, without running a solver.

What is known of the independent starts (reproducibility, PRTF) stays that of all of them: to leave out by hand those
that disagree is no evidence that the others are right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr.assembly import mean_scores, worst
from napari_i2ipr.config import Config
from napari_i2ipr.data import Status
from napari_i2ipr.errors import CancelledError, I2IPRError, InputError
from napari_i2ipr.evaluate.quality import single
from napari_i2ipr.physics.device import device_named
from napari_i2ipr.pipeline import as_problem
from napari_i2ipr.prepare import condition
from napari_i2ipr.refinement import Outcome, refined, weights_used
from napari_i2ipr.shells import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_i2ipr.data import Candidate, Measurement, Reconstruction
    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.progress import Cancel, OnEvent
    from napari_i2ipr.shells import Shells

LEAST = 2
"""Candidates that must be kept: one alone has no spread."""

KEY = "averaged_again"
"""Where the provenance says what was kept, pattern by pattern."""

NOT_REFINED = "the pattern was not there, so that the classical mean could not be refined again"
"""Said where an image that should be refined is not."""

FOUND_SUPPORT = "the support, which was drawn for the run, was taken to be where candidates are not zero"
"""Said where the support is not that of the settings or the file."""

_GAP_PX = 2
_NEARLY_ALL = 0.97

_OF_THE_IMAGE = ("r_factor", "chi", "r_factor_classical", "r_factor_best", "chi_ratio", "chi_ratio_limit")


def average_again(
    result: Reconstruction,
    keep: Mapping[int, Sequence[int]],
    patterns: Sequence[Measurement] = (),
    *,
    device: str = "cpu",
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Reconstruction:
    """Mean and spread of the kept candidates, refined again where the pattern is there and the settings ask for it.

    Parameters
    ----------
    result : Reconstruction
        With its candidate images; it is not changed.
    keep : mapping
        Numbers of the candidates that are kept, from 0 in the order of the table, by the number of the pattern in the
        flattened leading axes. Patterns that are not named stay as they are.
    patterns : sequence of Measurement
        What the result may have been made from; which one it was, mask included, is told by its fingerprint.
    device : str
        Where to refine.
    on_event, cancel : callable, Cancel, optional
        Told of the steps; looked at before every pattern and every step.

    Returns
    -------
    Reconstruction
        As `result`, with new images, weights and scores; scores that need the pattern are left out without it.

    Raises
    ------
    InputError
        When the candidate images are not there, or fewer than `LEAST` are kept.
    CancelledError
        When it was stopped.
    """
    if result.candidate_images is None:
        raise InputError(
            "a result without the images of its candidates",
            expected="one that was reconstructed with them",
            do="reconstruct again with `keep_candidates`",
        )
    config = Config.from_dict(result.provenance.get("config", {}))
    where, new = device_named(device), dict[int, _Item]()
    for index, numbers in sorted(keep.items()):
        if cancel is not None and cancel.is_set():
            raise CancelledError("a stop before the average was taken", do="average again")
        chosen = _Chosen.of(single(result, index), numbers, config)
        problem, note = _problem(chosen, index, patterns, config, where)
        one = _averaged(chosen, problem, config, on_event, cancel)
        new[index] = replace(one, notes=(*one.notes, note) if note else one.notes)
    return _put_together(result, new, weights_used(config) if any(one.refined for one in new.values()) else None)


@dataclass(frozen=True)
class _Chosen:
    """One pattern's result, its rows with new weights, and the aligned images in object units, ``(K, h, w)``."""

    item: Reconstruction
    rows: list[Candidate]
    images: NDArray[Any]

    @classmethod
    def of(cls, item: Reconstruction, numbers: Sequence[int], config: Config) -> _Chosen:
        rows, wanted = item.candidates, sorted(set(numbers))
        if not rows or item.candidate_images is None:
            raise InputError("a pattern that was not reconstructed", expected="one with candidates")
        if len(wanted) < LEAST or not 0 <= wanted[0] <= wanted[-1] < len(rows):
            raise InputError(
                f"the candidates {wanted}",
                expected=f"at least {LEAST} of 0 to {len(rows) - 1}, as one alone has no spread",
                do="keep more",
            )
        weights = np.zeros(len(rows))
        weights[wanted] = 1.0
        if config.aggregation.weights == "consistency":
            weights[wanted] = [1 / max(rows[k].residual, 1e-12) ** 2 for k in wanted]
        weights /= weights.sum()
        rows = [replace(row, weight=float(w)) for row, w in zip(rows, weights, strict=True)]
        return cls(item, rows, np.asarray(item.candidate_images))

    @property
    def kept(self) -> list[int]:
        """Numbers of the candidates that are averaged."""
        return [k for k, row in enumerate(self.rows) if row.weight > 0]

    def mean(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weighted mean and weighted standard deviation."""
        weights = np.array([row.weight for row in self.rows], np.float32)[:, None, None]
        mean = (self.images * weights).sum(0)
        return mean, np.sqrt((np.abs(self.images - mean) ** 2 * weights).sum(0))


@dataclass(frozen=True)
class _Item:
    """What replaces one pattern's part of the result."""

    image: NDArray[Any]
    uncertainty: NDArray[Any]
    classical: NDArray[Any]
    kind: str
    scales: dict[str, float]
    chosen: _Chosen
    scores: dict[str, Any]
    shells: NDArray[np.float32] | None
    status: Status
    notes: tuple[str, ...]

    @property
    def refined(self) -> bool:
        return bool(self.scores.get("refined"))


def _problem(
    chosen: _Chosen, index: int, patterns: Sequence[Measurement], config: Config, device: torch.device
) -> tuple[Problem | None, str]:
    """The problem that was solved, from the pattern with the right fingerprint, or None; and a note."""
    item = chosen.item
    marks = item.provenance.get("fingerprints") or [None]
    came_from = item.provenance.get("input", {}).get("frame", index)
    for pattern in patterns:
        position = index if index < pattern.n_frames and pattern.lead_shape else 0
        for at in dict.fromkeys((position, came_from if isinstance(came_from, int) else position)):
            if pattern.frame_shape != item.frame_shape or not 0 <= at < pattern.n_frames:
                continue
            try:
                frame, _ = condition(pattern.frame(at))
            except I2IPRError:
                continue
            if frame.fingerprint() == marks[0]:
                return _supported(chosen, frame, index, config, device)
    return None, ""


def _supported(
    chosen: _Chosen, frame: Measurement, index: int, config: Config, device: torch.device
) -> tuple[Problem, str]:
    """The problem within the support that was used, and a note where that had to be found from the candidates."""
    y0, x0, h, w = chosen.item.box
    config = config.replace(coherence={"blur_px": chosen.item.scores.get("blur_px", 0.0)})
    found = np.zeros(chosen.item.frame_shape, bool)
    found[y0 : y0 + h, x0 : x0 + w] = (chosen.images != 0).any(0)
    for support in (frame.support, None) if frame.support is not None else (None,):
        problem = as_problem(replace(frame, support=support), index, config, device)
        (top, bottom), (left, right) = ((part.start, part.stop) for part in problem.box)
        same = (top, left, bottom - top, right - left) == (y0, x0, h, w)
        within = top >= y0 and left >= x0 and bottom <= y0 + h and right <= x0 + w
        if (same or (within and config.support == "auto")) and not (found & ~problem.support.cpu().numpy()).any():
            return problem, ""
    support = _without_holes(found)
    if support.sum() > _NEARLY_ALL * h * w:
        support[y0 : y0 + h, x0 : x0 + w] = True
    return as_problem(replace(frame, support=support), index, config, device), FOUND_SUPPORT


def _without_holes(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region with its gaps of a few pixels and its holes closed: where every candidate is zero by chance."""
    from scipy.ndimage import binary_closing, binary_fill_holes

    padded = np.pad(found, _GAP_PX)
    closed = binary_fill_holes(binary_closing(padded, np.ones((3, 3)), iterations=_GAP_PX))
    inner: NDArray[np.bool_] = closed[_GAP_PX:-_GAP_PX, _GAP_PX:-_GAP_PX]
    return inner


def _averaged(
    chosen: _Chosen, problem: Problem | None, config: Config, on_event: OnEvent | None, cancel: Cancel | None
) -> _Item:
    mean, spread = chosen.mean()
    status = worst(Status[chosen.rows[k].status] for k in chosen.kept)
    kept = min(chosen.kept, key=lambda k: chosen.rows[k].score)
    scores = {name: value for name, value in chosen.item.scores.items() if name not in _OF_THE_IMAGE}
    free = chosen.rows[kept].free_score
    scores |= {
        "refined": False,
        "free_score": None if np.isnan(free) else free,
        "outside": chosen.rows[kept].outside,
    }
    notes: tuple[str, ...] = (
        f"averaged again from {len(chosen.kept)} of {len(chosen.rows)} candidates that were kept by hand",
    )
    if problem is None:
        shells = None if chosen.item.shells is None else _without_pattern(chosen.item.shells)
        wanted = config.refines
        notes += (NOT_REFINED,) if wanted else ()
        return _Item(mean, spread, mean, "spread of candidates", {}, chosen, scores, shells, status, notes)
    box = _Box.of(problem, chosen.item.box)
    scale = float(problem.scale[0])
    images = torch.from_numpy(box.cut(chosen.images) / np.float32(scale)).to(problem.amplitude.device)
    weights = torch.tensor([row.weight for row in chosen.rows], device=images.device)[:, None, None]
    average = (images * weights).sum(0)
    outcome = Outcome(average, ((images - average).abs().square() * weights).sum(0).sqrt(), status=status)
    r_factor, chi = problem.agreement(average)
    scores |= {"r_factor": r_factor, "chi": chi, "r_factor_classical": r_factor}
    scores["r_factor_best"] = problem.agreement(images[kept])[0]
    if status is not Status.CANCELLED:
        outcome = refined(problem, _sets(chosen, images), outcome, config, on_event=on_event, cancel=cancel)
    if outcome.status is Status.CANCELLED and status is not Status.CANCELLED:
        raise CancelledError("a stop during the refinement", do="average again")
    scores |= outcome.scores
    image = outcome.image.cpu().numpy()
    table = None if chosen.item.shells is None else _with_pattern(chosen.item.shells, chosen, problem, images, image)
    sigma = box.put((outcome.sigma * scale).cpu().numpy(), spread)
    whole = box.put(image * np.float32(scale), mean)
    return _Item(
        whole, sigma, mean, outcome.kind, outcome.scales, chosen, scores, table, outcome.status, notes + outcome.notes
    )


def _sets(chosen: _Chosen, images: torch.Tensor) -> list[torch.Tensor]:
    """The kept images, ``(K, h, w)`` for each member that has any."""
    members: dict[int, list[int]] = {}
    for k in chosen.kept:
        members.setdefault(chosen.rows[k].member, []).append(k)
    return [images[numbers] for _, numbers in sorted(members.items())]


@dataclass(frozen=True)
class _Box:
    """Where the problem's box lies in that of the result, which holds those of all patterns."""

    rows: slice
    columns: slice

    @classmethod
    def of(cls, problem: Problem, box: tuple[int, int, int, int]) -> _Box:
        rows, columns = problem.box
        y, x = box[:2]
        return cls(slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))

    def cut(self, images: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(images[..., self.rows, self.columns])

    def put(self, image: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
        whole = np.zeros(like.shape, image.dtype)
        whole[self.rows, self.columns] = image
        return whole


def _without_pattern(shells: Shells) -> NDArray[np.float32]:
    """The shells with what is not known any more left out: the misfit, and the agreement of what was averaged."""
    gap = np.full_like(shells.misfit, np.nan)
    return replace(shells, misfit=gap, prtf_last=gap).table()


def _with_pattern(
    shells: Shells, chosen: _Chosen, problem: Problem, images: torch.Tensor, image: NDArray[Any]
) -> NDArray[np.float32]:
    """The shells with the misfit of the new image, and the agreement of what was averaged."""
    rows, columns = problem.box
    found = compare(
        list(images[chosen.kept].cpu().numpy()),
        image,
        problem.amplitude[0, 0].cpu().numpy(),
        problem.measured[0, 0].cpu().numpy(),
        box=(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start),
        frame_shape=problem.pair.shape,
        pixel=chosen.item.pixel_m or (1.0, 1.0),
    )
    misfit = found.misfit * np.float32(float(problem.scale[0]))
    return replace(shells, misfit=misfit, prtf_last=found.prtf).table()


def _put_together(result: Reconstruction, new: dict[int, _Item], weights: dict[str, str] | None) -> Reconstruction:
    """The result with some of its patterns replaced."""
    lead = result.image.shape[:-2]

    def filled(old: NDArray[Any], name: str) -> NDArray[Any]:
        frames = np.array(old).reshape(-1, *old.shape[len(lead) :])
        for index, one in new.items():
            frames[index] = getattr(one, name)
        return frames.reshape(old.shape)

    items = [dict(one) for one in result.scores.get("items", [result.scores])]
    rows = list(result.candidates)
    per = len(rows) // max(len(items), 1)
    for index, one in new.items():
        items[index] = one.scores
        rows[index * per : (index + 1) * per] = one.chosen.rows
    kinds = {one.kind for one in new.values()} | ({result.uncertainty_kind} if len(new) < len(items) else set())
    scales = [one.scales for one in new.values()] + ([result.interval_scales] if len(new) < len(items) else [])
    table = None if result.shells is None else result.shells.table()
    if table is not None:
        flat = table.reshape(-1, *table.shape[-2:])
        for index, one in new.items():
            flat[index] = one.shells
    image, deviation = filled(result.image, "image"), filled(result.uncertainty, "uncertainty")
    old_states = [result.status] if len(new) < len(items) else []
    return replace(
        result,
        image=image,
        uncertainty=deviation,
        classical=None if result.classical is None else filled(result.classical, "classical"),
        uncertainty_kind=kinds.pop() if len(kinds) == 1 else "mixed",
        interval_scales=scales[0] if all(one == scales[0] for one in scales) else {},
        status=worst([*(one.status for one in new.values()), *old_states]),
        scores={**mean_scores(items), "items": items} if lead else items[0],
        candidates=rows,
        shells=None
        if result.shells is None or table is None
        else result.shells.from_table(result.shells.frequency, result.shells.n_starts, table),
        provenance=_provenance(result, new, weights, several=bool(lead)),
    )


def _provenance(
    result: Reconstruction, new: dict[int, _Item], weights: dict[str, str] | None, *, several: bool
) -> dict[str, Any]:
    earlier = result.provenance.get(KEY, [])
    done = [
        {
            "item": index,
            "kept": one.chosen.kept,
            "dropped": [k for k, row in enumerate(one.chosen.rows) if row.weight == 0],
            "refined": one.refined,
        }
        for index, one in new.items()
    ]
    said = [f"pattern {index + 1}: {note}" if several else note for index, one in new.items() for note in one.notes]
    notes = list(dict.fromkeys([*result.provenance.get("notes", []), *said]))
    found = {**result.provenance, "notes": notes, KEY: [*earlier, *done]}
    return found if weights is None else {**found, "weights": weights}
