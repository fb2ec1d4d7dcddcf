"""A training from pictures to weights: sets, stages, validation, calibration, a file and its card."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_i2ipr.config import Config
from napari_i2ipr.errors import CancelledError, InputError
from napari_i2ipr.evaluate.curves import save_training_curve
from napari_i2ipr.refine import weights as files
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.train.calibrate import calibrated, look
from napari_i2ipr.train.candidates import CandidateSet, make_sets
from napari_i2ipr.train.data import Sets
from napari_i2ipr.train.images import pictures
from napari_i2ipr.train.loop import CHECKPOINT, State, Trainer
from napari_i2ipr.version import program_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_i2ipr.progress import Cancel
    from napari_i2ipr.train.images import Picture
    from napari_i2ipr.train.recipe import Recipe, SetsSpec

    Say = Callable[[str], None]


def train(
    recipe: Recipe,
    data: Path,
    folder: Path,
    *,
    cache: Path | None = None,
    device: str = "cpu",
    processes: int = 1,
    say: Say = print,
    cancel: Cancel | None = None,
) -> Path:
    """Follow a recipe to its end; called again it goes on from its checkpoint.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    data : Path
        Folder with the recipe's sources.
    folder, cache : Path
        Where results go, and where candidate sets are kept (in `folder` by default).
    device : str
        Where to train and, on a GPU, to make the candidate sets.
    processes : int
        Candidate sets made at a time on a CPU.
    say : callable
        Told a line at every checkpoint.
    cancel : Cancel, optional
        Set it to stop after the batch under way.

    Returns
    -------
    Path
        The weights, ``NAME.safetensors``; the model card ``NAME.md`` lies beside them.

    Raises
    ------
    I2IPRError
        When data or checkpoint do not fit the recipe; when stopped (the checkpoint is written).
    """
    where = torch.device(device)
    to_train, held_back = pictures(data, recipe.sources, _largest(recipe))
    say(f"{len(to_train)} pictures to train on, {len(held_back)} held back")
    maker = _Maker(recipe.seed, cache or folder / "sets", device, processes, say, cancel)
    groups = [maker.sets(spec, to_train, whole=False) for spec in recipe.sets]
    validation = maker.sets(recipe.validation, held_back, whole=True)
    state = State.start(recipe, where)
    if (folder / CHECKPOINT).exists():
        state.load(folder / CHECKPOINT, recipe)
    trainer = Trainer(recipe, state, to_train, Sets(groups) if groups else None, validation, folder, where)
    trainer.run(say, cancel)
    if cancel is not None and cancel.is_set():
        raise CancelledError("a stop during the training", do=f"run it again to go on from {folder / CHECKPOINT}")
    path = folder / f"{recipe.name}.safetensors"
    files.save(state.averaged, _card(recipe, state, to_train, where), path)
    if recipe.calibration:
        to_fit = {size: maker.each(specs, held_back) for size, specs in by_size(recipe.calibration)}
        calibrate(path, to_fit, say)
    _leave(folder, path, state)
    return path


def _leave(folder: Path, weights: Path, state: State) -> None:
    """The curve and the model card, for people."""
    save_training_curve(folder / "curve.png", state.curve)
    weights.with_suffix(".md").write_text(card_text(files.read_card(weights)), encoding="utf-8")


def _largest(recipe: Recipe) -> int:
    """The side that a picture must have to serve everywhere."""
    specs = (*recipe.sets, recipe.validation, *recipe.calibration)
    return max([spec.size for spec in specs] + [stage.size for stage in recipe.stages if stage.data == "synthetic"])


@dataclass(frozen=True)
class _Maker:
    """Makes candidate sets, or finds them in the cache, and says how far it is."""

    seed: int
    cache: Path
    device: str
    processes: int
    say: Say
    cancel: Cancel | None

    def sets(self, spec: SetsSpec, of: Sequence[Picture], *, whole: bool) -> list[CandidateSet]:
        """The sets of a specification, drawn from these pictures or (whole) made of their centres."""
        if whole and len(of) < spec.count:
            raise InputError(f"{len(of)} validation pictures", expected=f"{spec.count}, as the recipe says", do="")

        def on_set(done: int, total: int) -> None:
            if done % 20 == 0 or done == total:
                self.say(f"candidate sets {spec.label}: {done} of {total}")
            if self.cancel is not None and self.cancel.is_set():
                raise CancelledError("a stop while candidate sets were made", do="run it again, it goes on")

        paths = make_sets(
            spec,
            of,
            self.cache,
            seed=self.seed,
            processes=self.processes,
            whole=whole,
            device=self.device,
            on_set=on_set,
        )
        return [CandidateSet.load(path) for path in paths]

    def each(self, specs: Sequence[SetsSpec], of: Sequence[Picture]) -> list[list[CandidateSet]]:
        """The sets of each specification, of the pictures' centres."""
        return [self.sets(spec, of, whole=True) for spec in specs]


def by_size(specs: Sequence[SetsSpec]) -> list[tuple[int, list[SetsSpec]]]:
    """Specifications by the side of their objects, in the order of the first of each."""
    return [(size, [s for s in specs if s.size == size]) for size in dict.fromkeys(s.size for s in specs)]


def _card(recipe: Recipe, state: State, used: Sequence[Picture], device: torch.device) -> files.Card:
    return files.Card(
        name=recipe.name,
        network=recipe.network,
        sampling=_sampling(recipe),
        bfloat16=recipe.bfloat16,
        training=_facts(recipe, state, used, device),
        sources=_sources(used),
    )


def _sampling(recipe: Recipe) -> Sampling:
    """The steps that the weights are for; the times stay those that were trained."""
    trained = recipe.stages[-1].steps
    return Sampling(steps=recipe.sampling_steps or trained, last=1 / trained)


def calibrate(path: Path, to_fit: Mapping[int, Sequence[Sequence[CandidateSet]]], say: Say = print) -> None:
    """Look at validation sets with the weights of a file and store calibration and scores in it.

    Parameters
    ----------
    path : Path
        The weights.
    to_fit : mapping
        Groups of sets by the side of their objects in pixels; the first size is the main one. The uncertainty is
        fitted to the first group of each size, the limit of the check against the data is found on all of them.
    say : callable
        Told how far it is and what came of it.
    """
    weights = files.load(str(path))
    found = [_checked(weights, side, groups, say) for side, groups in to_fit.items()]
    main = {name: getattr(found[0], name) for name in files.Checked.model_fields}
    files.save(weights.model, weights.card.model_copy(update={**main, "other_sizes": tuple(found[1:])}), path)


def _checked(weights: files.Weights, side: int, groups: Sequence[Sequence[CandidateSet]], say: Say) -> files.Checked:
    def on_image(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            say(f"calibration at {side} px: {done} of {total}")

    first, *others = [look(weights, sets, Config(), on_image) for sets in groups]
    calibration, limit, metrics = calibrated(first, [one for group in others for one in group])
    say(", ".join(f"{name} {value}" for name, value in metrics.items()))
    return files.Checked(side_px=side, calibration=calibration, max_chi_ratio=limit, metrics=metrics)


def _facts(recipe: Recipe, state: State, used: Sequence[Picture], device: torch.device) -> dict[str, Any]:
    digest = hashlib.sha256("".join(sorted(picture.sha256 for picture in used)).encode()).hexdigest()
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "recipe": recipe.model_dump(mode="json"),
        "pictures": len(used),
        "pictures_sha256": digest,
        "candidate_sets": sum(spec.count for spec in recipe.sets),
        "samples": state.seen,
        "minutes": round(state.seconds / 60, 1),
        "hardware": f"{hardware}, {platform.machine()}",
        "versions": {"napari-i2ipr": program_version(), "torch": torch.__version__},
    }


def _sources(used: Sequence[Picture]) -> list[dict[str, Any]]:
    counts = Counter((p.file.split(":")[0], p.origin, p.licence) for p in used)
    return [
        {"source": source, "origin": origin, "licence": licence, "pictures": count}
        for (source, origin, licence), count in sorted(counts.items())
    ]


def _restricted(card: files.Card) -> bool:
    """Whether a licence of the training pictures speaks of non-commercial use."""
    return any("non-commercial" in str(source["licence"]).lower() for source in card.sources)


def _score_lines(known: files.Checked) -> list[str]:
    title = [f"Objects of {known.side_px} px:", ""] if known.side_px else []
    return [*title, *(f"- {name}: {value}" for name, value in known.metrics.items()), ""]


def card_text(card: files.Card) -> str:
    """The model card in Markdown."""
    facts = card.training
    lines = [
        f"# Weights {card.name}",
        "",
        "Restoration network of the I2I-PR refinement (Kaya & Oktem, arXiv 2507.09609), trained by `i2ipr train`.",
        "",
        f"- Network: `{card.network.model_dump_json()}`",
        f"- Sampler: {card.sampling.sampler}, {card.sampling.steps} steps",
        (
            f"- Trained on {facts.get('pictures')} pictures ({facts.get('candidate_sets')} candidate sets) for "
            f"{facts.get('minutes')} min, {facts.get('samples')} samples, on {facts.get('hardware')}"
        ),
        f"- sha256 of the pictures' hashes: `{facts.get('pictures_sha256')}`",
        "",
        "## Scores on validation images, none of them trained on",
        "",
        *(line for one in (card, *card.other_sizes) for line in _score_lines(one)),
        "Coverage, z^2 and rank correlation are cross-validated between halves of these images.",
        "",
        "## Training pictures",
        "",
        "| source | origin | licence | pictures |",
        "|---|---|---|---|",
        *(f"| {s['source']} | {s['origin']} | {s['licence']} | {s['pictures']} |" for s in card.sources),
        "",
        *(["Some of them are free for non-commercial research only.", ""] if _restricted(card) else []),
        "## Not for",
        "",
        "Complex objects; patterns sampled below twice the object; images unlike the ones above, which the",
        "check against the data finds in part only. Which way up the image is cannot be told by anyone.",
        "",
    ]
    return "\n".join(lines)
