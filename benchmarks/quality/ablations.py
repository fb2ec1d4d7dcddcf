"""What each part of the refinement is worth: variants of the sampler on the validation images.

Works on candidate sets of the calibration part of a recipe (validation images, never trained on, 256 x
256 px, alpha 2 ... 4), made once and kept in the cache. Every variant sees the same candidates; the table
gives the mean gain in PSNR over the candidates' mean. Writes ``ABLATIONS.md``.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from common import data_folder
from report import cpu

from napari_i2ipr.refine import weights
from napari_i2ipr.refine.consistency import Measured
from napari_i2ipr.refine.ensemble import reduced_precision
from napari_i2ipr.refine.indi import times
from napari_i2ipr.refine.sampler import VIEWS, Known, Viewed, denoise, evolving, indi, typical
from napari_i2ipr.train.candidates import CandidateSet, make_sets
from napari_i2ipr.train.images import pictures
from napari_i2ipr.train.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_i2ipr.refine.sampler import Model

    Sampler = Callable[..., tuple[Tensor, Tensor]]

TABLE = Path(__file__).with_name("ABLATIONS.md")
PEAK = 255.0


def without_consistency(
    model: Model, candidates: Tensor, _measured: Measured, steps: int, *, last: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The network alone, its output fed back to it."""
    known = Known(model, candidates, _measured)
    x = typical(candidates, model.spec.replicas)
    for t in times(steps, last):
        x, log_variance = denoise(model, x, known, t)
    return x.mean(1), log_variance[:, 0].exp()


def consistency_last(
    model: Model, candidates: Tensor, measured: Measured, steps: int, *, last: float = 0.0
) -> tuple[Tensor, Tensor]:
    """As `evolving`, but data consistency has the last word."""
    known = Known(model, candidates, measured)
    x = typical(candidates, model.spec.replicas)
    for t in times(steps, last):
        x, log_variance = denoise(model, model.consistency(x, measured, t), known, t)
    return model.consistency(x, measured, 0.0).mean(1), log_variance[:, 0].exp()


def from_mean(
    model: Model, candidates: Tensor, measured: Measured, steps: int, *, last: float = 0.0
) -> tuple[Tensor, Tensor]:
    """As `evolving`, but all replicas start at the mean."""
    known = Known(model, candidates, measured)
    x = known.mean.expand(-1, model.spec.replicas, -1, -1)
    for t in times(steps, last):
        x, log_variance = denoise(model, model.consistency(x, measured, t), known, t)
    return x.mean(1), log_variance[:, 0].exp()


@dataclass(frozen=True)
class Variant:
    """One way of refining."""

    name: str
    sampler: Sampler = evolving
    steps: int = 8
    last: float = 0.25
    views: int = 1
    candidates: int = 10
    gains: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def variants() -> list[Variant]:
    """All rows of the table; the first is the default but for its two views."""
    return [
        Variant("**evolving, T = 8, times 1 ... 1/4**"),
        *(Variant(f"T = {steps}", steps=steps) for steps in (1, 2, 4, 6, 12)),
        *(Variant(f"times 1 ... 1/T, T = {steps}", steps=steps, last=0.0) for steps in (8, 12)),
        Variant("InDI steps of the paper, T = 4", indi, steps=4, last=0.0),
        Variant("InDI steps of the paper, T = 8", indi, last=0.0),
        Variant("no data consistency", without_consistency),
        Variant("data consistency last", consistency_last),
        Variant("replicas start at the mean", from_mean),
        *(Variant(f"{views} views", views=views) for views in (2, 4, 8)),
        *(Variant(f"{count} candidate{'s' * (count > 1)}", candidates=count) for count in (1, 3, 5)),
    ]


def measure(variant: Variant, model: Model, one: CandidateSet, *, bfloat16: bool) -> None:
    """Refine one set; add its gain over the mean of all its candidates."""
    problem = one.problem()
    images, truth = torch.from_numpy(one.images).float(), torch.from_numpy(one.truth).float()
    started = time.perf_counter()
    with torch.inference_mode(), reduced_precision(torch.device("cpu"), wanted=bfloat16):
        found = [
            variant.sampler(
                Viewed(model, view),
                images[None, : variant.candidates],
                Measured.of(problem),
                variant.steps,
                last=variant.last,
            )
            for view in VIEWS[: variant.views]
        ]
    variant.seconds.append(time.perf_counter() - started)
    image = torch.stack([problem.constrain(x[0].float()) for x, _ in found]).mean(0)
    variant.gains.append(psnr(image, truth, one.scale) - psnr(images.mean(0), truth, one.scale))


def psnr(image: Tensor, truth: Tensor, scale: float) -> float:
    """In dB, of images in normalised units."""
    return 10 * math.log10((PEAK / scale) ** 2 / float((image - truth).square().mean()))


def write(rows: list[Variant], used: weights.Weights, before: list[float]) -> None:
    """Write the table."""
    lines = [
        "# Ablations of the refinement",
        "",
        f"Made by `benchmarks/quality/ablations.py` on {len(before)} validation images (256 x 256 px, alpha 2-4,",
        f"none trained on; the candidates' mean has {statistics.fmean(before):.2f} dB), weights {used.sha256[:12]},",
        f"{cpu()}, {os.cpu_count()} cores. The weights were trained with T = 4 of `evolving` on all",
        "candidates: other variants see states they were not trained on. Each row differs from the first as it says.",
        "",
        "| variant | mean gain | worst gain | better | seconds |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        better = 100 * sum(g > 0 for g in row.gains) / len(row.gains)
        lines.append(
            f"| {row.name} | {statistics.fmean(row.gains):+.2f} dB | {min(row.gains):+.2f} dB | {better:.0f} % "
            f"| {statistics.fmean(row.seconds):.2f} |"
        )
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="data folder (default: the environment variable I2IPR_DATA)")
    parser.add_argument("--limit", type=int, default=24, help="validation images")
    parser.add_argument("--recipe", default="cpu", help="recipe whose calibration sets are used")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "cache" / "sets")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    recipe = Recipe.load(options.recipe)
    spec = recipe.calibration[0].model_copy(update={"count": options.limit})
    _, held_back = pictures(data_folder(options.data) / "train", recipe.sources, spec.size)
    files = make_sets(spec, held_back, options.cache, seed=recipe.seed, processes=options.processes, whole=True)
    sets = [CandidateSet.load(file) for file in files]
    used, rows = weights.load(), variants()
    before = []
    for number, one in enumerate(sets, 1):
        truth = torch.from_numpy(one.truth).float()
        before.append(psnr(torch.from_numpy(one.images).float().mean(0), truth, one.scale))
        for row in rows:
            measure(row, used.model, one, bfloat16=used.card.bfloat16)
        print(f"{number} of {len(sets)}: {before[-1]:.2f} dB {rows[0].gains[-1]:+.2f} dB", flush=True)
    write(rows, used, before)


if __name__ == "__main__":
    main()
