"""Speed of the solver loop, as ratios measured side by side in one run.

One HIO iteration of a 512 x 512 frame against (a) the textbook loop - complex transform, angle and
polar form, real part, boolean-index updates - and (b) the floor, a bare ``rfft2`` + ``irfft2`` pair,
for one image and for ten (an image a thread). Then the parts of the refinement with the shipped weights,
and the peak memory of whole reconstructions, each in
a process of its own. Writes a Markdown table to standard output, or to ``--out FILE``.

``--batch`` measures the batch engine instead, see ``batch.py``; its table is kept in ``BATCH.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import batch
from napari_i2ipr.physics.fourier import FourierPair
from napari_i2ipr.physics.memory import available_cores
from napari_i2ipr.physics.problem import Problem
from napari_i2ipr.physics.projections import Constraints
from napari_i2ipr.solvers._run import each, iterate
from napari_i2ipr.solvers.recipe import parse_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_i2ipr.refine.sampler import Known, Model

ROUNDS = 5
"""Every figure is the median of so many rounds; the contestants take turns within a round."""


def frame_problem(n: int) -> tuple[Constraints, torch.Tensor]:
    """Constraints and amplitude of a random image in the half box of an n x n frame."""
    generator = torch.Generator().manual_seed(1)
    box = slice(n // 4, n // 4 + n // 2)
    image = torch.zeros(n, n)
    image[box, box] = torch.rand(n // 2, n // 2, generator=generator)
    pair = FourierPair((n, n))
    amplitude = pair.forward(image).abs()
    ours = Constraints.build(pair, amplitude, torch.ones_like(amplitude), (box, box), None, nonnegative=True)
    return ours, torch.fft.fft2(image, norm="ortho").abs()


def textbook(amplitude: torch.Tensor, k: int, iterations: int) -> None:
    """HIO as research code writes it, all images in one batch."""
    n = amplitude.shape[-1]
    support = torch.zeros(n, n, dtype=torch.bool)
    support[n // 4 : n // 4 + n // 2, n // 4 : n // 4 + n // 2] = True
    support = support.expand(k, -1, -1)
    g = torch.rand(k, n, n)
    for _ in range(iterations):
        spectrum = torch.fft.fft2(g, norm="ortho")
        projected = torch.fft.ifft2(torch.polar(amplitude.expand(k, -1, -1), torch.angle(spectrum)), norm="ortho").real
        wrong = ~support | (projected < 0)
        new = projected.clone()
        new[wrong] = g[wrong] - 0.9 * projected[wrong]
        g = new


def bare_pair(k: int, iterations: int, n: int) -> None:
    """The floor: forward and inverse half-spectrum transform, image by image on torch's own threads."""
    images = [torch.rand(n, n) for _ in range(k)]
    for _ in range(iterations):
        for image in images:
            torch.fft.irfft2(torch.fft.rfft2(image), s=(n, n))


def bare_pair_a_thread(k: int, iterations: int, n: int) -> None:
    """The floor with an image a thread."""

    def work(image: torch.Tensor) -> None:
        for _ in range(iterations):
            torch.fft.irfft2(torch.fft.rfft2(image), s=(n, n))

    each([torch.rand(n, n) for _ in range(k)], work)


def ours(constraints: Constraints, k: int, iterations: int) -> None:
    """The loop of the package, checks included."""
    schedule = parse_schedule(f"HIO:{iterations}")
    n = constraints.pair.shape[0]
    each([torch.rand(n, n) for _ in range(k)], lambda g: iterate(constraints, schedule, g))


def race(contestants: dict[str, Callable[[], None]], per: int) -> dict[str, float]:
    """Median milliseconds per image-iteration of each contestant, in turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_ in range(ROUNDS + 1):
        for name, run in contestants.items():
            started = time.perf_counter()
            with torch.inference_mode():
                run()
            if round_:
                times[name].append((time.perf_counter() - started) / per * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def speed(n: int, k: int, iterations: int) -> dict[str, float]:
    """All contestants for k images of n x n."""
    constraints, amplitude = frame_problem(n)
    return race(
        {
            "textbook": lambda: textbook(amplitude, k, iterations),
            "pair": lambda: bare_pair(k, iterations, n),
            "pair, a thread each": lambda: bare_pair_a_thread(k, iterations, n),
            "ours": lambda: ours(constraints, k, iterations),
        },
        k * iterations,
    )


def memory_child(n: int) -> None:
    """Reconstruct one n x n frame with ten candidates and print the peak memory in MiB."""
    import numpy as np

    from napari_i2ipr import Config, reconstruct, simulate

    image = np.random.default_rng(0).random((n // 2, n // 2), np.float32)
    config = Config().replace(
        initialisation={"n_starts": 10, "n_keep": 10, "short": "HIO:5", "long": "HIO:15"}, refine={"enabled": False}
    )
    reconstruct(simulate(image), config)
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def peak_mib(n: int) -> float:
    """Peak host memory of a reconstruction in a fresh process, torch included."""
    command = [sys.executable, str(Path(__file__).resolve()), "--memory-child", str(n)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def evaluation_gflop(model: Model, known: Known, x: torch.Tensor) -> float:
    """Floating-point operations of one evaluation of the network, 1e9."""
    from torch.utils.flop_counter import FlopCounterMode

    from napari_i2ipr.refine.sampler import denoise

    with FlopCounterMode(display=False) as counter:
        denoise(model, x, known, 1.0)
    return float(counter.get_total_flops() / 1e9)


def refinement_table() -> list[str]:
    """The parts of the refinement with the shipped weights, 256 x 256 px objects, ten candidates."""
    from napari_i2ipr.physics.support import half_box
    from napari_i2ipr.refine.consistency import Measured
    from napari_i2ipr.refine.ensemble import reduced_precision
    from napari_i2ipr.refine.sampler import Known, denoise, evolving, typical
    from napari_i2ipr.refine.weights import load

    used = load()
    model, steps = used.model, used.card.sampling.steps
    candidates = torch.rand(1, 10, 256, 256)
    intensity = torch.rand(1, 512, 512)
    measured = Measured.of(Problem.build(intensity, torch.ones(1, 512, 512, dtype=torch.bool), half_box((512, 512))))
    x = typical(candidates, model.spec.replicas)
    with torch.inference_mode():
        known = Known(model, candidates, measured)
    count, gflop = sum(p.numel() for p in model.parameters()), evaluation_gflop(model, known, x)
    lines = [
        f"Refinement, weights {used.sha256[:12]}: {count / 1e6:.1f} M parameters, {gflop:.0f} GFLOP an evaluation;",
        "256 x 256 px objects, 10 candidates.",
        "",
        "| precision | candidates encoded ms | evaluation ms | data consistency ms | member, T = " + f"{steps} ms |",
        "|---|---|---|---|---|",
    ]
    for wanted in (True, False):
        with reduced_precision(torch.device("cpu"), wanted=wanted):
            name = "bfloat16" if torch.is_autocast_enabled("cpu") else "float32"
            t = race(
                {
                    "encode": lambda: model.network.encode(candidates),
                    "evaluate": lambda: denoise(model, x, known, 1.0),
                    "consistency": lambda: model.consistency(x, measured, 1.0),
                    "member": lambda: evolving(model, candidates, measured, steps, last=used.card.sampling.last),
                },
                1,
            )
        lines.append(f"| {name} | " + " | ".join(f"{value:.0f}" for value in t.values()) + " |")
    return lines


def table(iterations: int) -> str:
    """The whole benchmark as Markdown."""
    lines = [
        (
            f"Machine: {platform.machine()}, {available_cores()} cores, torch {torch.__version__}; "
            f"512 x 512 frames, {iterations} HIO iterations, median of {ROUNDS} rounds."
        ),
        "",
        "Floor: 2 x 2.5 N log2 N = 23.6 MFLOP and about 14 MB through cache per image-iteration.",
        "",
        "| images | textbook ms | pair ms | pair, a thread each ms | ours ms | speed-up | of pair | of threaded pair |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for k in (1, 10):
        t = speed(512, k, iterations)
        floor, threaded = t["pair"], t["pair, a thread each"]
        lines.append(
            f"| {k} | {t['textbook']:.2f} | {floor:.2f} | {threaded:.2f} | {t['ours']:.2f} | "
            f"{t['textbook'] / t['ours']:.1f} | {t['ours'] / floor:.2f} | {t['ours'] / threaded:.2f} |"
        )
    lines += ["", *refinement_table()]
    lines += ["", "| frame, 10 candidates | peak memory MiB |", "|---|---|"]
    lines += [f"| {n} x {n} | {peak_mib(n):.0f} |" for n in (512, 2048)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--out", help="write the table to this file as well")
    parser.add_argument("--memory-child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batch", action="store_true", help="only the batch engine")
    parser.add_argument(
        "--frames", type=int, default=64, help="with --batch: frames of its overhead and of its workers"
    )
    parser.add_argument("--rounds", type=int, default=3, help="with --batch")
    parser.add_argument("--many", type=int, default=1024, help="with --batch: frames of the larger volume")
    parser.add_argument("--batch-memory-child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_child:
        memory_child(options.memory_child)
        return
    if options.batch_memory_child:
        batch.memory_child(options.batch_memory_child)
        return
    counts = (64, options.many)
    text = batch.table(options.frames, options.rounds, counts) if options.batch else table(options.iterations)
    print(text)
    if options.out:
        Path(options.out).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
