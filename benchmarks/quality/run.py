"""Quality on the test images: blind, registered by one flip and one shift, and flip-only beside it.

Natural (BSDS500 test, Kodak, prDeep natural), unnatural (prDeep) and microscopy images of 256 x 256 px
with fixed noise seeds. Candidate sets, which take most of the time, are kept in a cache and made a core
each; every image's scores go to ``results.csv`` as they come, and ``RESULTS.md`` is written from them. The
test images are for reporting only: nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import zlib
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from common import SIDE, Case, data_folder, test_cases
from report import RECORDS, append, done, write_report

from napari_i2ipr import Config, simulate
from napari_i2ipr.evaluate import align, coverage, evaluate
from napari_i2ipr.evaluate.curves import save_calibration_curve
from napari_i2ipr.pipeline import Initial, as_problem, candidate_set, complete
from napari_i2ipr.prepare import condition
from napari_i2ipr.refine import weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.physics.problem import Candidates, Problem

SETS = ("bsds500_test50", "kodak24", "prdeep_natural", "prdeep_unnatural", "microscopy_test")
"""Folders of the test data; the first three are the natural images, the fourth the unnatural ones."""

LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95)
"""Levels at which coverage is counted."""


DEFAULT, CURVE_ALPHA = "one set, default", 3.0
"""Row and noise level of the calibration curve."""

CURVE = Path(__file__).parents[2] / "docs" / "calibration.png"
"""Drawn by a run that adds to the repository's own records."""


@dataclass(frozen=True)
class Row:
    """One way of reconstructing."""

    name: str
    config: Config


ROWS = (
    Row("paper preset, mean of 10", Config.from_preset("paper", refine={"enabled": False})),
    Row("classical (balanced)", Config(refine={"enabled": False})),
    Row("one set, T = 1", Config(refine={"steps": 1})),
    Row(DEFAULT, Config()),
    Row("ensemble of 6", Config(members=3)),
    Row("ensemble of 24", Config(members=12)),
)
"""From cheap to dear; the ensembles are sets times two flips."""

PLAN: dict[str, dict[float, int | None]] = {
    "paper preset, mean of 10": {3.0: None, 2.0: 8, 4.0: 8},
    "classical (balanced)": {3.0: None, 2.0: 8, 4.0: 8},
    "one set, T = 1": {3.0: None, 2.0: 8, 4.0: 8},
    DEFAULT: {3.0: None, 2.0: 8, 4.0: 8},
    "ensemble of 6": {3.0: 8},
    "ensemble of 24": {3.0: 4},
}
"""Images of each set that a CPU does; None: all."""


@dataclass(frozen=True)
class Job:
    """One candidate set to make."""

    case: Case
    alpha: float
    config: Config
    member: int
    file: Path


def pattern(case: Case, alpha: float) -> Measurement:
    """The image's pattern; its noise depends on its name."""
    return condition(simulate(case.image, alpha=alpha, seed=zlib.crc32(case.name.encode())))[0]


def problem_of(case: Case, alpha: float, config: Config) -> Problem:
    """The pattern as the pipeline sees it."""
    return as_problem(pattern(case, alpha), 0, config, torch.device("cpu"))


def set_file(cache: Path, case: Case, alpha: float, config: Config, member: int) -> Path:
    """Where a candidate set is kept."""
    words = json.dumps(config.initialisation.model_dump(mode="json"), sort_keys=True)
    key = hashlib.sha256(words.encode()).hexdigest()[:8]
    return cache / key / f"alpha{alpha:g}" / f"{case.name.replace('/', '-')}-{member}.pt"


def make_set(job: Job) -> float:
    """Make one candidate set with one thread and keep it; returns the seconds it took."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    config = job.config.replace(compute={"threads": 1})
    candidates = candidate_set(problem_of(job.case, job.alpha, config), config, job.member, None, None)
    seconds = time.perf_counter() - started
    job.file.parent.mkdir(parents=True, exist_ok=True)
    part = job.file.with_suffix(f".{os.getpid()}.part")
    torch.save((candidates, seconds), part)
    part.replace(job.file)
    return seconds


def read_set(file: Path) -> tuple[Candidates, float]:
    """What `make_set` kept; written by this program, so it may hold its classes."""
    found: tuple[Candidates, float] = torch.load(file, weights_only=False)
    return found


def make_sets(jobs: list[Job], processes: int) -> None:
    """Make the candidate sets that are missing."""
    missing = list({job.file: job for job in jobs if not job.file.exists()}.values())
    if not missing:
        return
    started = time.perf_counter()
    with get_context("spawn").Pool(processes) as pool:
        for count, _ in enumerate(pool.imap(make_set, missing), 1):
            print(f"candidate set {count} of {len(missing)}, {time.perf_counter() - started:.0f} s", flush=True)


def score(case: Case, alpha: float, row: Row, cache: Path) -> dict[str, Any]:
    """Finish one image from its candidate sets, and score it."""
    config = row.config
    kept = [read_set(set_file(cache, case, alpha, config, member)) for member in range(config.members)]
    started = time.perf_counter()
    found = Initial(problem_of(case, alpha, config), [c for c, _ in kept], sum(s for _, s in kept), ())
    result = complete(pattern(case, alpha), [found], config)
    seconds = found.seconds + time.perf_counter() - started
    scores = evaluate(result, case.image)
    error, sigma, image = compared(result, case.image)
    scales = result.interval_scales
    if row.name == DEFAULT and alpha == CURVE_ALPHA and scales:
        file = pixels_file(cache, case, weights.load().sha256)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, sigma=sigma.astype(np.float16), error=error.astype(np.float16))
    return {
        **{name: scores[name] for name in ("psnr", "ssim", "psnr_flip_only", "ssim_flip_only")},
        "ms_ssim": ms_ssim(image, case.image),
        **{
            f"coverage_{100 * level:g}": float(np.mean(np.abs(error) <= scales[f"{level:g}"] * sigma))
            for level in LEVELS
            if f"{level:g}" in scales
        },
        **{name: scores[name] for name in ("mean_z2", "spearman")},
        "ause": coverage.ause(error, sigma),
        "ence": coverage.ence(error, sigma),
        "sigma": float(sigma.mean()),
        "chi_ratio": result.scores.get("chi_ratio", ""),
        "status": result.status.name,
        "seconds": seconds,
    }


def pixels_file(cache: Path, case: Case, used: str) -> Path:
    """Where error and uncertainty of the default row at alpha 3 are kept for the curve."""
    return cache / "pixels" / used[:12] / f"{case.name.replace('/', '-')}.npz"


def draw(files: list[Path]) -> None:
    """The calibration curve of the images whose pixels are kept."""
    kept = [np.load(file) for file in files if file.exists()]
    if kept:
        title = f"{len(kept)} test images, alpha 3, one candidate set; grey values of 255"
        sigma, error = ([one[name].astype(np.float64) for one in kept] for name in ("sigma", "error"))
        calibration = weights.load().card.checked((SIDE, SIDE)).calibration
        if calibration is not None:
            save_calibration_curve(CURVE, sigma, error, calibration.scales, title=title)


def compared(
    result: Reconstruction, truth: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Error and uncertainty where both are known, and the image, brought onto the truth."""
    moved = align.register(result.image, result.box, truth, result.frame_shape)
    image = moved.bring(result.image, result.box).astype(np.float64)
    held = moved.bring(np.ones(result.image.shape, bool), result.box)
    sigma = moved.bring(result.uncertainty, result.box).astype(np.float64)
    return (image - truth)[held], sigma[held], image


def ms_ssim(image: NDArray[np.float64], truth: NDArray[np.uint8]) -> float:
    """Multi-scale structural similarity (Wang et al. 2003)."""
    from pytorch_msssim import ms_ssim as similarity

    pair = [torch.from_numpy(np.asarray(a, np.float32))[None, None] for a in (image.clip(0, 255), truth)]
    return float(similarity(*pair, data_range=255.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="data folder (default: the environment variable I2IPR_DATA)")
    parser.add_argument("--limit", type=int, help="images per set at most")
    parser.add_argument("--rows", nargs="*", default=[row.name for row in ROWS], help="names of rows")
    parser.add_argument("--alpha", nargs="*", type=float, default=[3.0, 2.0, 4.0])
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / "cache", help="candidate sets")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sets-only", action="store_true", help="make the candidate sets and stop")
    parser.add_argument("--full", action="store_true", help="every row on every image, for a GPU or a long night")
    parser.add_argument("--records", type=Path, default=RECORDS, help="CSV that scores are added to")
    options = parser.parse_args()
    unknown = set(options.rows) - {row.name for row in ROWS}
    if unknown:
        sys.exit(f"error: got the rows {sorted(unknown)}; expected some of {[row.name for row in ROWS]}")
    data = data_folder(options.data)
    todo: list[tuple[Case, float, Row]] = []
    for alpha in options.alpha:
        for row in (row for row in ROWS if row.name in options.rows):
            counts = PLAN[row.name]
            if alpha not in counts and not options.full:
                continue
            limits = [n for n in (options.limit, None if options.full else counts.get(alpha)) if n is not None]
            todo += [(case, alpha, row) for case in test_cases(data, SETS, min(limits, default=None))]
    make_sets(
        [
            Job(case, alpha, row.config, member, set_file(options.cache, case, alpha, row.config, member))
            for case, alpha, row in todo
            for member in range(row.config.members)
        ],
        options.processes,
    )
    if options.sets_only:
        return
    used = weights.load().sha256
    for case, alpha, row in todo:
        key = {"row": row.name, "image": case.name, "alpha": f"{alpha:g}"}
        key["weights"] = used[:12] if row.config.refine.enabled else ""
        if not done(options.records, key):
            scores = score(case, alpha, row, options.cache)
            append(options.records, {**key, **scores})
            print(row.name, case.name, alpha, f"{scores['psnr']:.2f} dB", flush=True)
    write_report(options.records, used)
    if options.records == RECORDS:
        draw([pixels_file(options.cache, case, used) for case in test_cases(data, SETS, None)])


if __name__ == "__main__":
    main()
