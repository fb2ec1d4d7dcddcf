"""Candidate sets to train on, made with the shipped initialisation and kept on disk.

A set is one simulated pattern with the aligned candidates that the pipeline hands to the refinement,
in the pipeline's normalised units, and the truth turned and moved to match them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr.aggregate import aggregate
from napari_i2ipr.config import Config
from napari_i2ipr.physics.fourier import FourierPair
from napari_i2ipr.physics.problem import Problem, generator
from napari_i2ipr.physics.support import half_box
from napari_i2ipr.physics.symmetry import align
from napari_i2ipr.pipeline import as_problem, candidate_set
from napari_i2ipr.prepare import condition
from napari_i2ipr.simulation import simulate
from napari_i2ipr.train.objects import centre, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_i2ipr.train.images import Picture
    from napari_i2ipr.train.recipe import SetsSpec


@dataclass(frozen=True)
class CandidateSet:
    """One pattern's candidates and truth, normalised units.

    Attributes
    ----------
    images : ndarray
        Aligned sound candidates ``(K, h, w)``, float16.
    truth : ndarray
        ``(h, w)`` float16, turned and moved to match the candidates.
    amplitude : ndarray
        Half spectrum ``(y, kx)`` float32, zero frequency at the corner.
    alpha : float
        Noise level.
    scale : float
        Object units per normalised unit.
    """

    images: NDArray[np.float16]
    truth: NDArray[np.float16]
    amplitude: NDArray[np.float32]
    alpha: float
    scale: float

    @classmethod
    def make(cls, image: NDArray[Any], config: Config, *, alpha: float, seed: int, device: str = "cpu") -> CandidateSet:
        """Simulate the pattern of an image, reconstruct it classically, and bring the truth to it.

        Parameters
        ----------
        image : ndarray
            uint8 ``(h, w)``.
        config : Config
            The initialisation, alignment and aggregation.
        alpha : float
            The paper's noise level.
        seed : int
            Of the noise and the starts.
        device : str
            Where to compute.
        """
        frame, _ = condition(simulate(image, alpha=alpha, seed=seed))
        problem = as_problem(frame, 0, config.replace(seed=seed), torch.device(device))
        pool = candidate_set(problem, config.replace(seed=seed), 0, None, None)
        aligned, weights, mean, _ = aggregate(problem, pool, config)
        truth = torch.from_numpy(image.astype(np.float32)).to(mean) / problem.scale[0]
        registered = align(torch.stack([mean, truth])).images[1].clamp(min=0)
        return cls(
            aligned.images[weights.to(mean.device) > 0].cpu().numpy().astype(np.float16),
            registered.cpu().numpy().astype(np.float16),
            problem.amplitude[0, 0].cpu().numpy(),
            float(problem.alpha[0]),
            float(problem.scale[0]),
        )

    def problem(self) -> Problem:
        """The pattern as the pipeline sees it, on the CPU; nothing held out."""
        amplitude = torch.from_numpy(self.amplitude)[None, None]
        side = amplitude.shape[-2]
        measured = torch.ones_like(amplitude, dtype=torch.bool)
        return Problem(
            FourierPair((side, side)),
            amplitude,
            measured,
            ~measured,
            torch.tensor([self.scale]),
            torch.tensor([self.alpha]),
            half_box((side, side)),
            (0,),
            nonnegative=True,
        )

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` file, whole or not at all."""
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(file, **vars(self))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> CandidateSet:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        return cls(
            values["images"], values["truth"], values["amplitude"], float(values["alpha"]), float(values["scale"])
        )


def make_sets(
    spec: SetsSpec,
    pictures: Sequence[Picture],
    folder: Path,
    *,
    seed: int,
    processes: int,
    whole: bool = False,
    device: str = "cpu",
    on_set: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """The files of all sets of a specification; those that are missing are made, a process each.

    Parameters
    ----------
    spec : Sets
        How many, how large, how noisy, from which preset.
    pictures : sequence of Picture
        To draw objects from.
    folder : Path
        The cache; files are named by the specification and their number.
    seed : int
        Of all random numbers; set number i does not depend on how many there are.
    processes : int
        Worked on at a time, a core each.
    whole : bool
        Take the centre of picture number i for set i, as validation does, instead of drawing an object.
    device : str
        A GPU does all starts of one set at a time, in this process.
    on_set : callable, optional
        Called with the number of sets that are there and of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "centre-" if whole else ""
    paths = [folder / f"{kind}{spec.label}-{seed}-{index:05d}.npz" for index in range(spec.count)]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    jobs = (
        _Job(spec, _object(spec, pictures, seed, index, whole), seed, index, paths[index], device) for index in missing
    )
    ready = spec.count - len(missing)
    if processes <= 1 or len(missing) <= 1 or device != "cpu":
        results = map(_make, jobs)
        for done, _ in enumerate(results, ready + 1):
            if on_set is not None:
                on_set(done, spec.count)
        return paths
    with get_context("spawn").Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for done, _ in enumerate(pool.imap_unordered(_make, jobs), ready + 1):
            if on_set is not None:
                on_set(done, spec.count)
    return paths


def _object(spec: SetsSpec, pictures: Sequence[Picture], seed: int, index: int, whole: bool) -> NDArray[np.uint8]:
    if whole:
        return centre(pictures[index].pixels, spec.size)
    return draw(generator(seed, spec.stream, index, 0), pictures, spec.size, spec.shares)


@dataclass(frozen=True)
class _Job:
    """One set to make; crosses to a worker process."""

    spec: SetsSpec
    image: NDArray[np.uint8]
    seed: int
    index: int
    path: Path
    device: str


def _make(job: _Job) -> None:
    rng = generator(job.seed, job.spec.stream, job.index, 1)
    alpha = float(np.exp(rng.uniform(*np.log(job.spec.alpha))))
    config = Config.from_preset(job.spec.preset).replace(compute={"threads": 1})
    made = CandidateSet.make(job.image, config, alpha=alpha, seed=int(rng.integers(2**31)), device=job.device)
    made.save(job.path)
