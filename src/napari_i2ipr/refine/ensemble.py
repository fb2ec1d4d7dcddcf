"""Geometric self-ensemble: candidate sets times views, each refined, turned back, averaged."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from napari_i2ipr.errors import CancelledError
from napari_i2ipr.progress import Event
from napari_i2ipr.refine.consistency import Measured
from napari_i2ipr.refine.sampler import SAMPLERS, VIEWS, Viewed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.progress import Cancel, OnEvent
    from napari_i2ipr.refine.indi import Sampling
    from napari_i2ipr.refine.sampler import Model


SMOOTH_PX = 5
"""Side of the square over which the members' variance is averaged."""


@dataclass(frozen=True)
class Refined:
    """The ensemble's outcome for one pattern, normalised units.

    Attributes
    ----------
    image : Tensor
        Mean of the members ``(h, w)``, within the constraints.
    variance : Tensor
        Raw variance ``(h, w)``: the members' mean expected squared error plus their variance
        (the mixture of Lakshminarayanan et al. 2017), the latter smoothed over `SMOOTH_PX` pixels.
    members : Tensor
        ``(M, h, w)``.
    """

    image: Tensor
    variance: Tensor
    members: Tensor


def refine(
    model: Model,
    problem: Problem,
    sets: Sequence[Tensor],
    sampling: Sampling,
    views: int,
    *,
    bfloat16: bool = True,
    threads: int = 0,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
) -> Refined:
    """Refine every candidate set in every view.

    The network sees the turned images; data consistency is done in the pattern's own orientation.

    Parameters
    ----------
    model : Model
        Network and data consistency, on the problem's device.
    problem : Problem
        One measurement of a real object.
    sets : sequence of Tensor
        Aligned candidates of each set, ``(K, h, w)``, K >= 1, normalised units.
    sampling : Sampling
        Sampler and steps.
    views : int
        Views of each set, 1 ... 8; objects that are not square have four.
    bfloat16 : bool
        Convolutions in bfloat16, where the processor has them.
    threads : int
        Threads on a CPU; 0 takes all cores.
    on_event, cancel : callable, Cancel, optional
        Told of every step; looked at before every step.

    Raises
    ------
    CancelledError
        When stopped before the end.
    """
    measured, device = Measured.of(problem), problem.amplitude.device
    h, w = sets[0].shape[-2:]
    chosen = [view for view in VIEWS if h == w or not view & 4][:views]
    batches = _batches(sets, together=device.type != "cpu")
    on_step = _counter(len(batches) * len(chosen) * sampling.steps, on_event, cancel)
    sampler = SAMPLERS[sampling.sampler]
    images, variances = [], []
    with torch.inference_mode(), torch_threads(threads), reduced_precision(device, wanted=bfloat16):
        for candidates in batches:
            for view in chosen:
                viewed = Viewed(model, view)
                image, variance = sampler(viewed, candidates, measured, sampling.steps, on_step, last=sampling.last)
                images.append(problem.constrain(image.float()))
                variances.append(variance.float())
    members = torch.cat(images)
    between = _smooth(members.var(0, correction=0))
    return Refined(members.mean(0), torch.cat(variances).mean(0) + between, members)


def _smooth(variance: Tensor) -> Tensor:
    """Mean over a small square: the variance of a few members is a noisy number at a single pixel."""
    return functional.avg_pool2d(variance[None], SMOOTH_PX, 1, SMOOTH_PX // 2, count_include_pad=False)[0]


def _batches(sets: Sequence[Tensor], *, together: bool) -> list[Tensor]:
    """Candidate sets ``(B, K, h, w)``: those of the same K together on a GPU, one by one on a CPU."""
    if not together:
        return [one[None].float() for one in sets]
    counts = dict.fromkeys(len(one) for one in sets)
    return [torch.stack([one.float() for one in sets if len(one) == count]) for count in counts]


def _counter(total: int, on_event: OnEvent | None, cancel: Cancel | None) -> Callable[[int, int, Tensor], None]:
    """What the samplers call after each step: says how far the ensemble is, and stops it."""
    done = 0

    def on_step(_step: int, _steps: int, replicas: Tensor) -> None:
        nonlocal done
        done += 1
        if on_event is not None:
            on_event(Event("refine", done, total, image=lambda: replicas[0].mean(0).float().cpu().numpy()))
        if cancel is not None and cancel.is_set():
            raise CancelledError("a stop during the refinement", do="run it again")

    return on_step


def reduced_precision(device: torch.device, *, wanted: bool) -> torch.autocast:
    """Convolutions in bfloat16 where that is wanted and the processor computes in it; float32 elsewhere."""
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported()
    elif device.type == "cpu":
        able = any(_cpu_has(name) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    else:
        able = False
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and able)


def _cpu_has(name: str) -> bool:
    """What torch knows of the processor; it has no public name for it."""
    ask = getattr(torch.cpu, name, None)
    return bool(ask()) if ask is not None else False


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many of torch's threads for a while; 0 leaves them."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
