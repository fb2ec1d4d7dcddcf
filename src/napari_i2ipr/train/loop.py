"""The training loop: stages of batches, averaged weights, checkpoints, validation, a curve."""

from __future__ import annotations

import copy
import csv
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_i2ipr.errors import ConfigError, FormatError, I2IPRError
from napari_i2ipr.refine.ensemble import reduced_precision, torch_threads
from napari_i2ipr.refine.indi import times
from napari_i2ipr.refine.networks._base import typical
from napari_i2ipr.refine.sampler import Known, Model, denoise, evolving
from napari_i2ipr.train.data import Batch, Sets, batch_of, random_numbers, synthetic_batch
from napari_i2ipr.train.loss import loss

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_i2ipr.progress import Cancel
    from napari_i2ipr.train.candidates import CandidateSet
    from napari_i2ipr.train.images import Picture
    from napari_i2ipr.train.recipe import Recipe, Stage

CPU = torch.device("cpu")
"""Where a training runs unless told."""

CURVE = ("stage", "batch", "sets", "seconds", "loss", "psnr_before", "psnr", "psnr_averaged")
"""Columns of the curve; PSNR in dB on the validation sets, of the candidates' mean and refined."""

CHECKPOINT, CURVE_FILE = "checkpoint.pt", "curve.csv"
"""Files of a training in its folder."""

PEAK = 255.0
"""Range of the images, for PSNR."""


def fingerprint(recipe: Recipe, stage: int) -> str:
    """What a checkpoint in a stage depends on: the recipe without the stages after it and what follows the training."""
    return recipe.model_copy(update={"stages": recipe.stages[: stage + 1], "calibration": ()}).fingerprint()


@dataclass
class State:
    """All that changes during a training; what a checkpoint holds."""

    model: Model
    averaged: Model
    optimiser: torch.optim.Optimizer
    stage: int = 0
    number: int = 0
    seen: int = 0
    seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe, device: torch.device = CPU) -> State:
        """The recipe's weights to start from, or random ones by its seed."""
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            model = Model(recipe.network)
        if recipe.start:
            _fill(model, recipe.start)
        model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cuda":
            model.network.compile()
        optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=1e-4)
        return cls(model, copy.deepcopy(model).requires_grad_(False), optimiser)

    def save(self, path: Path, recipe_so_far: str) -> None:
        """Write a checkpoint, whole or not at all."""
        values = {name: getattr(self, name).state_dict() for name in ("model", "averaged", "optimiser")}
        numbers = {name: getattr(self, name) for name in ("stage", "number", "seen", "seconds", "curve")}
        part = path.with_suffix(".part")
        torch.save({**values, **numbers, "recipe": recipe_so_far}, part)
        part.replace(path)

    def load(self, path: Path, recipe: Recipe) -> None:
        """Go on from a checkpoint of the same recipe; stages that had not begun may differ.

        Raises
        ------
        ConfigError
            When it is another recipe's.
        FormatError
            When it is damaged or no checkpoint.
        """
        try:
            values = torch.load(path, weights_only=True, map_location="cpu")
            written_by, stage = str(values["recipe"]), int(values["stage"])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged pickle can raise anything
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise FormatError(f"{path}, which cannot be read ({said})", do="delete it to start anew") from None
        if written_by != fingerprint(recipe, stage):
            raise ConfigError(
                f"{path}, a checkpoint of another recipe",
                expected="the same network, data and finished stages",
                do="use another folder",
            )
        for name in ("model", "averaged", "optimiser"):
            getattr(self, name).load_state_dict(values[name])
        for name in ("stage", "number", "seen", "seconds", "curve"):
            setattr(self, name, values[name])


@dataclass
class Trainer:
    """A recipe at work: `run` goes from where the state stands to the end.

    Attributes
    ----------
    recipe : Recipe
        What to do.
    state : State
        Where it stands.
    pictures : sequence of Picture
        For synthetic sets.
    sets, validation : Sets, list of CandidateSet
        To train on and to look at.
    folder : Path
        Checkpoint and curve go here.
    """

    recipe: Recipe
    state: State
    pictures: Sequence[Picture]
    sets: Sets | None
    validation: Sequence[CandidateSet]
    folder: Path
    device: torch.device = CPU

    def run(self, on_line: Callable[[str], None] | None = None, cancel: Cancel | None = None) -> None:
        """Train to the end of the recipe, or to a stop; either way the checkpoint is written."""
        with torch_threads(self.recipe.threads):
            self._stages(on_line, cancel)

    def _stages(self, on_line: Callable[[str], None] | None, cancel: Cancel | None) -> None:
        state, recipe = self.state, self.recipe
        while state.stage < len(recipe.stages):
            stage = recipe.stages[state.stage]
            losses: list[float] = []
            while state.number < stage.batches:
                started = time.perf_counter()
                losses += self._walk(stage)
                state.number += 1
                state.seen += stage.batch * stage.steps
                state.seconds += time.perf_counter() - started
                stopped = cancel is not None and cancel.is_set()
                if state.number % recipe.checkpoint == 0 or state.number == stage.batches or stopped:
                    self._look(float(np.mean(losses)), on_line)
                    losses = []
                if stopped:
                    return
            state.stage, state.number = state.stage + 1, 0
            self._save()

    def _walk(self, stage: Stage) -> list[float]:
        """One batch through the sampler, a step of the optimiser at each of its steps, on its own outputs."""
        state = self.state
        batch = self._batch(stage).to(self.device)
        for group in state.optimiser.param_groups:
            group["lr"] = _rate(stage, state.number)
        losses, x = [], typical(batch.candidates, self.recipe.network.replicas)
        for t in times(stage.steps):
            with self._precision():
                known = Known(state.model, batch.candidates, batch.measured)
                z = state.model.consistency(x, batch.measured, t)
                images, log_variance = denoise(state.model, z, known, t)
            value = loss(images.float(), log_variance.float(), batch.truth)
            if not bool(torch.isfinite(value)):
                raise I2IPRError(
                    f"a loss of {float(value.detach())} at stage {state.stage + 1}, batch {state.number}",
                    expected="a number",
                    do="lower the stage's rate, and run it again to go on from the last checkpoint",
                )
            state.optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), self.recipe.clip)
            state.optimiser.step()
            self._average()
            losses.append(float(value.detach()))
            x = images.detach().float()
        return losses

    def _batch(self, stage: Stage) -> Batch:
        rng = random_numbers(self.recipe.seed, self.state.stage, self.state.number)
        if stage.data == "synthetic":
            return synthetic_batch(stage, self.pictures, rng)
        if self.sets is None:
            raise ConfigError("a stage on sets, but no sets", expected="sets in the recipe")
        return self.sets.batch(stage, rng)

    def _precision(self) -> Any:
        """Convolutions in bfloat16 where the recipe asks for it; transforms stay in float32."""
        return reduced_precision(self.device, wanted=self.recipe.bfloat16)

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential average of the weights, young ones over a shorter time."""
        decay = min(self.recipe.ema, (1 + self.state.seen) / (10 * self.recipe.stages[0].batch + self.state.seen))
        for mean, now in zip(self.state.averaged.parameters(), self.state.model.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def _look(self, mean_loss: float, on_line: Callable[[str], None] | None) -> None:
        """Validate, add a row to the curve, write checkpoint and curve, say it."""
        state = self.state
        before, now = self.validate(state.model)
        _, averaged = self.validate(state.averaged)
        values = (state.stage, state.number, state.seen, state.seconds, mean_loss, before, now, averaged)
        state.curve.append(dict(zip(CURVE, (v if isinstance(v, int) else round(v, 4) for v in values), strict=True)))
        self._save()
        if on_line is not None:
            on_line(
                f"stage {state.stage + 1}/{len(self.recipe.stages)} "
                f"batch {state.number}/{self.recipe.stages[state.stage].batches} {state.seconds / 60:.1f} min "
                f"loss {mean_loss:.4f} PSNR {before:.2f} -> {now:.2f} (averaged {averaged:.2f}) dB"
            )

    @torch.no_grad()
    def validate(self, model: Model) -> tuple[float, float]:
        """Mean PSNR in dB over the validation sets: of the candidates' mean, and refined."""
        before: list[float] = []
        after: list[float] = []
        for one in self.validation:
            batch = batch_of([one], [0]).to(self.device)
            with self._precision():
                image, _ = evolving(model, batch.candidates, batch.measured, self.recipe.stages[-1].steps)
            peak = PEAK / one.scale
            for images, scores in ((batch.candidates.mean(1), before), (image.float().clamp(min=0), after)):
                scores.append(10 * math.log10(peak**2 / float((images - batch.truth).square().mean())))
        return float(np.mean(before)), float(np.mean(after))

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state.save(self.folder / CHECKPOINT, fingerprint(self.recipe, self.state.stage))
        with (self.folder / CURVE_FILE).open("w", newline="") as file:
            writer = csv.DictWriter(file, CURVE, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.state.curve)


def _fill(model: Model, weights: str) -> None:
    """Put the named weights into a model of the same network."""
    from napari_i2ipr.refine.weights import load

    try:
        model.load_state_dict(load(weights).model.state_dict())
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        raise ConfigError(
            f"the weights {weights!r} to start from ({said})", expected="those of the same network"
        ) from None


def _rate(stage: Stage, number: int) -> float:
    """Warm-up over a fiftieth of the horizon, then a cosine to a fiftieth of the rate."""
    horizon = stage.horizon or stage.batches
    warm = max(horizon // 50, 1)
    share = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(number / horizon, 1)))
    return stage.rate * min(share, (number + 1) / warm)
