"""What each method does next to HIO with the same number of iterations, on small simulated patterns.

Every schedule runs the same random starts (objects of 128 x 128 px in frames of 256 x 256, all iterations on one CPU
thread). What a start found is compared with the object after one flip, one shift and one global phase. Appends to
``methods.csv`` as it goes, skips what is already there, and writes ``METHODS.md`` from it.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr import Config, Measurement, simulate
from napari_i2ipr.evaluate.align import register
from napari_i2ipr.phantoms import cell, scene
from napari_i2ipr.pipeline import as_problem
from napari_i2ipr.solvers.multistart import MultiStart, initialise
from napari_i2ipr.solvers.recipe import parse_schedule, total_iterations

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HERE = Path(__file__).parent
RECORDS = HERE / "methods.csv"
TABLE = HERE / "METHODS.md"
FIELDS = ("case", "schedule", "start", "error", "chi", "free", "ms")
SIDE = 128
STARTS = 4
FOUND = 0.1
"""Relative error up to which a noise-free object counts as found."""

Record = dict[str, str]


@dataclass(frozen=True)
class Case:
    """A pattern with its object, and what is told of it."""

    words: str
    make: Callable[[], tuple[Measurement, NDArray[Any]]]
    settings: dict[str, Any]
    beam: bool = False

    @property
    def schedules(self) -> tuple[str, ...]:
        """What runs on it."""
        return BEAM_SCHEDULES if self.beam else SCHEDULES


def _complex() -> NDArray[np.complex64]:
    """A disc-shaped object: cells as the modulus, a scene as the phase, up to 45 degrees either way."""
    y, x = np.ogrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    phase = (scene(SIDE, 1) / 255.0 - 0.5) * np.pi / 2
    return ((0.2 + cell(SIDE, 0) / 255.0) * np.exp(1j * phase) * (x**2 + y**2 < 1)).astype(np.complex64)


def _spots() -> NDArray[np.float32]:
    """Sixty spots on nothing."""
    rng = np.random.default_rng(3)
    image = np.zeros((SIDE, SIDE), np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    for cy, cx, height in zip(*rng.uniform(8, SIDE - 8, (2, 60)), rng.uniform(0.3, 1, 60), strict=True):
        image += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 4).astype(np.float32)
    return image


def _with_support(measurement: Measurement, inside: NDArray[np.bool_]) -> Measurement:
    frame = np.zeros(measurement.frame_shape, bool)
    at = (measurement.frame_shape[0] - SIDE) // 2
    frame[at : at + SIDE, at : at + SIDE] = inside
    return replace(measurement, support=frame)


def _simulated(image: NDArray[Any], *, tight: bool = False, **options: Any) -> tuple[Measurement, NDArray[Any]]:
    measurement = simulate(image, seed=1, **options)
    return (_with_support(measurement, np.abs(image) > 0) if tight else measurement), image


def _blurred(width: float) -> tuple[Measurement, NDArray[Any]]:
    """What a partially coherent beam gives of the cells."""
    from napari_i2ipr.physics.coherence import coherence

    measurement, image = _simulated(cell(SIDE, 0), oversampling=3)
    gamma = coherence(measurement.frame_shape, torch.tensor(width))
    spectrum = torch.fft.ifft2(torch.from_numpy(np.fft.ifftshift(measurement.intensity)))
    blurred = torch.fft.fft2(spectrum * gamma).real.clamp(min=0).numpy()
    return replace(measurement, intensity=np.fft.fftshift(blurred).astype(np.float32)), image


CASES = {
    "cells": Case("cells, no noise, half box", lambda: _simulated(cell(SIDE, 0)), {}),
    "cells, alpha 3": Case("cells, alpha 3, half box", lambda: _simulated(cell(SIDE, 0), alpha=3.0), {}),
    "scene, alpha 3": Case("dead leaves, alpha 3, half box", lambda: _simulated(scene(SIDE, 0), alpha=3.0), {}),
    "cells, 3e5 photons": Case("cells, 3e5 photons", lambda: _simulated(cell(SIDE, 0), photons=3e5), {}),
    "beamstop": Case("cells, no noise, beamstop of 3 px", lambda: _simulated(cell(SIDE, 0), beamstop_px=3), {}),
    "spots": Case("sixty spots, no noise, half box", lambda: _simulated(_spots()), {}),
    "complex": Case(
        "complex disc, phases within 45 degrees, no noise, its own disc as support",
        lambda: _simulated(_complex(), tight=True),
        {"complex": True},
    ),
    "complex, 90": Case(
        "the same, phases held within 90 degrees",
        lambda: _simulated(_complex(), tight=True),
        {"complex": True, "max_phase_deg": 90.0},
    ),
    "complex, 50": Case(
        "the same, phases held within 50 degrees",
        lambda: _simulated(_complex(), tight=True),
        {"complex": True, "max_phase_deg": 50.0},
    ),
    "blur 0.3 px": Case(
        "cells, no noise, oversampled 3 times, a beam that blurs by 0.3 px, known for the stages with `+pc`",
        lambda: _blurred(0.3),
        {"coherence": {"blur_px": 0.3}},
        beam=True,
    ),
}

SCHEDULES = (
    "HIO:480 ER:20",
    "RAAR:480 ER:20",
    "DM:480 ER:20",
    "OSS:480 ER:20",
    "CF:480 ER:20",
    "CF(delta=0.6):480 ER:20",
    "HIO:200 HIO+detwin:10 HIO:270 ER:20",
    "HIO:450 ML:50",
    "HIO:450 ER:50",
    "WF:500",
    "SPECTRAL:50 WF:450",
    "SPECTRAL:50",
    "ER:500",
)


BEAM_SCHEDULES = (
    "HIO:480 ER:20",
    "HIO:300 HIO+pc:180 ER+pc:20",
    "HIO:300 HIO+pc:150 ML+pc:50",
    "HIO+pc:480 ER+pc:20",
)
"""For the case of a partially coherent beam."""


def records() -> list[Record]:
    """What has been measured so far."""
    if not RECORDS.exists():
        return []
    with RECORDS.open(newline="") as file:
        return list(csv.DictReader(file))


def relative_error(image: NDArray[Any], box: tuple[int, int, int, int], truth: NDArray[Any], shape: Any) -> float:
    """``||x - truth|| / ||truth||`` after one flip, shift and phase."""
    moved = register(image, box, truth, shape)
    difference = moved.bring(image, box) * moved.factor - truth
    return float(np.linalg.norm(difference) / np.linalg.norm(truth))


def measure(case: Case, name: str, schedule: str) -> list[Record]:
    """Run all starts of a schedule on a case."""
    measurement, truth = case.make()
    truth = truth.astype(np.complex64 if np.iscomplexobj(truth) else np.float32)
    settings = dict(case.settings)
    config = Config(object="complex" if settings.pop("complex", False) else "real", **settings)
    problem = as_problem(measurement, 0, config, torch.device("cpu"))
    stages = parse_schedule(schedule)
    several = MultiStart(STARTS, STARTS, stages, parse_schedule("ER:1"), hold_out=True, threads=1)
    if len(stages) > 1:
        several = replace(several, short=stages[:-1], long=stages[-1:])
    started = time.perf_counter()
    found = initialise(problem, several, seed=0)
    ms = 1000 * (time.perf_counter() - started) / STARTS / total_iterations(stages)
    rows, columns = problem.box
    box = (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    images = (found.images[0] * problem.scale[0]).numpy()
    return [
        {
            "case": name,
            "schedule": schedule,
            "start": str(int(found.start[0, k])),
            "error": f"{relative_error(images[k], box, truth, measurement.frame_shape):.4f}",
            "chi": f"{float(found.residual[0, k]):.5f}",
            "free": f"{float(found.free_score[0, k]):.5f}",
            "ms": f"{ms:.2f}",
        }
        for k in range(STARTS)
    ]


def run(cases: list[str], schedules: list[str]) -> None:
    """Measure what is missing."""
    done = {(r["case"], r["schedule"]) for r in records()}
    new = not RECORDS.exists()
    with RECORDS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        for name in cases:
            for schedule in schedules or CASES[name].schedules:
                if (name, schedule) in done:
                    continue
                rows = measure(CASES[name], name, schedule)
                writer.writerows(rows)
                file.flush()
                errors = " ".join(row["error"] for row in rows)
                print(f"{name:20} {schedule:40} {errors}  {rows[0]['ms']} ms", flush=True)


def table() -> str:
    """One table: by schedule and case the best-scored and the median start."""
    rows = records()
    cases = [name for name in CASES if any(r["case"] == name for r in rows)]
    lines = [
        "# Methods next to HIO",
        "",
        f"Relative error `||x - truth|| / ||truth||` in per cent of {STARTS} random starts after one flip, shift and",
        "global phase: the start with the best free score, and in brackets the median start. 500 iterations for every",
        f"schedule, objects of {SIDE} x {SIDE} px from code in frames twice as large, free pixels held out to the last",
        "tenth of the last stage, no relaxation. Made by `python benchmarks/quality/methods.py`; ms is the time of an",
        "iteration of the first case on one CPU thread, scores included.",
        "",
        "| schedule | ms | " + " | ".join(cases) + " |",
        "|---|---|" + "---|" * len(cases),
    ]
    measured = dict.fromkeys(r["schedule"] for r in rows)
    for schedule in sorted(measured, key=lambda name: (*SCHEDULES, *BEAM_SCHEDULES, name).index(name)):
        mine = [r for r in rows if r["schedule"] == schedule]
        times = [r["ms"] for r in mine if r["case"] == cases[0]]
        cells = []
        for case in cases:
            part = [r for r in mine if r["case"] == case]
            if not part:
                cells.append("-")
                continue
            best = min(part, key=lambda r: float(r["free"]))
            median = statistics.median(float(r["error"]) for r in part)
            cells.append(f"{100 * float(best['error']):.1f} ({100 * median:.1f})")
        lines.append(f"| `{schedule}` | {times[0] if times else '-'} | " + " | ".join(cells) + " |")
    lines += ["", "Cases:", ""]
    lines += [f"- {name}: {CASES[name].words}" for name in cases]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), help="cases to run")
    parser.add_argument("--schedules", nargs="*", default=[], help="schedules to run (default: the case's own)")
    parser.add_argument("--table", action="store_true", help="only write the table from what was measured")
    options = parser.parse_args()
    if not options.table:
        run(options.cases, options.schedules)
    text = table()
    TABLE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
