"""Quality on the test images: blind, registered by one flip and one shift, and flip-only beside it.

Natural (BSDS500 test, Kodak, prDeep natural), unnatural (prDeep) and microscopy images of 256 x 256 px
with fixed noise seeds. Writes ``RESULTS.md`` with the commit and the machine. The test images are for
reporting only: nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from common import Case, data_folder, test_cases

from napari_i2ipr import Config, reconstruct, simulate
from napari_i2ipr.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
SETS = ("bsds500_test50", "kodak24", "prdeep_natural", "prdeep_unnatural", "microscopy_test")
FEWER = 8
"""Images per set at alpha 2 and 4."""

Scores = dict[str, float]


def score(config: Config, case: Case, alpha: float) -> Scores:
    """Simulate, reconstruct and score one image."""
    started = time.perf_counter()
    result = reconstruct(simulate(case.image, alpha=alpha, seed=2), config)
    seconds = time.perf_counter() - started
    scores = evaluate(result, case.image)
    names = ("psnr", "ssim", "psnr_flip_only", "ssim_flip_only", "coverage_90")
    return {name: float(scores[name]) for name in names} | {"seconds": seconds}


def mean(rows: Iterable[Scores], name: str) -> float:
    return statistics.fmean(row[name] for row in rows)


def line(preset: str, alpha: float, name: str, rows: list[Scores]) -> str:
    """One row of the table."""
    cells = [
        f"{mean(rows, 'psnr'):.2f} / {mean(rows, 'ssim'):.3f}",
        f"{mean(rows, 'psnr_flip_only'):.2f} / {mean(rows, 'ssim_flip_only'):.3f}",
        f"{mean(rows, 'coverage_90'):.2f}",
        f"{mean(rows, 'seconds'):.1f}",
    ]
    return f"| {preset} | {alpha:g} | {name} | {len(rows)} | " + " | ".join(cells) + " |"


def heading() -> list[str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return [
        "# Quality on the test images",
        "",
        (
            f"Commit {commit.stdout.strip() or 'unknown'}, {dt.datetime.now(dt.UTC):%Y-%m-%d}, "
            f"{platform.machine()}, {os.cpu_count()} cores, classical half only (no learned refinement)."
        ),
        "",
        "| preset | alpha | set | n | PSNR dB / SSIM registered | flip only | coverage of mean +- 1.645 sd | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="data folder (default: the environment variable I2IPR_DATA)")
    parser.add_argument("--limit", type=int, help="images per set")
    parser.add_argument("--presets", nargs="*", default=["paper", "balanced"])
    parser.add_argument("--alpha", nargs="*", type=float, default=[3.0, 2.0, 4.0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    data = data_folder(options.data)
    lines = heading()
    for alpha in options.alpha:
        limit = options.limit if alpha == 3 else min(options.limit or FEWER, FEWER)
        for preset in options.presets:
            config = Config.from_preset(preset)
            for name in SETS:
                rows = [score(config, case, alpha) for case in test_cases(data, (name,), limit)]
                lines.append(line(preset, alpha, name, rows))
                print(lines[-1], flush=True)
                options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
