"""``i2ipr train`` from pictures to weights that ``i2ipr reconstruct`` uses."""

from __future__ import annotations

import csv
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from napari_i2ipr import io
from napari_i2ipr.cli.app import app
from napari_i2ipr.phantoms import cell
from napari_i2ipr.refine import weights
from napari_i2ipr.refine.networks._base import typical
from napari_i2ipr.refine.sampler import Known, denoise
from napari_i2ipr.train import images
from napari_i2ipr.train.candidates import CandidateSet
from napari_i2ipr.train.data import Sets
from napari_i2ipr.train.loop import State, Trainer
from napari_i2ipr.train.loss import loss
from napari_i2ipr.train.recipe import Recipe

Run = Callable[..., Any]

PICTURES = 5
MARGIN = 0.1
"""The loss is a mean logarithm of squared errors, five quarters of it: so much is a third of a dB."""


def pictures(folder: Path) -> Path:
    """``DATA/pictures``: a few simulated cells."""
    (folder / "pictures").mkdir(parents=True)
    for seed in range(PICTURES):
        Image.fromarray(cell(64, seed)).save(folder / "pictures" / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training with the recipe ``tiny``; ``DATA`` is beside it, what was said in it."""
    import torch

    folder = tmp_path_factory.mktemp("tiny")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    words = ["train", "tiny", "--data", pictures(folder / "data"), "--output", folder / "out", "--device", "cpu"]
    done = CliRunner().invoke(app, [*map(str, words), "--processes", "1"], catch_exceptions=False)
    torch.set_num_threads(before)
    assert (done.exit_code, done.stderr) == (0, "")
    (folder / "said.txt").write_text(done.stdout, encoding="utf-8")
    return folder / "out"


@pytest.fixture
def short(folder: Path) -> Path:
    """``short.yaml``: a few synthetic batches on pictures in ``data``."""
    recipe = Recipe.load("tiny").model_dump(mode="json")
    recipe |= {"name": "short", "sets": [], "stages": [recipe["stages"][0] | {"batches": 4, "batch": 2}]}
    recipe |= {"checkpoint": 2, "network": recipe["network"] | {"widths": [4, 8]}}
    Path("short.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    pictures(Path("data"))
    return Path("short.yaml")


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "curve.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_files(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        "checkpoint.pt",
        "curve.csv",
        "curve.png",
        "sets",
        "tiny.md",
        "tiny.safetensors",
    }
    assert np.asarray(Image.open(trained / "curve.png")).std() > 1
    recipe = Recipe.load("tiny")
    counts = [spec.count for spec in recipe.sets]
    assert len(list((trained / "sets").glob("fast-32-*.npz"))) == sum(counts)
    assert len(list((trained / "sets").glob("centre-fast-32-*.npz"))) == recipe.validation.count
    said = (trained.parent / "said.txt").read_text(encoding="utf-8").splitlines()
    assert said[0] == "4 pictures to train on, 1 held back"
    assert said[-1] == f"weights: {trained / 'tiny.safetensors'}"
    assert sum("PSNR" in line for line in said) == len(rows(trained))


@pytest.mark.slow
def test_the_loss_falls(trained: Path) -> None:
    curve, recipe = rows(trained), Recipe.load("tiny")
    for number, stage in enumerate(recipe.stages):
        loss = [row["loss"] for row in curve if row["stage"] == number]
        assert len(loss) == stage.batches // recipe.checkpoint >= 2
        assert loss[-1] < loss[0] - MARGIN, f"stage {number}: {loss}"
    assert np.isfinite([row["psnr_averaged"] for row in curve]).all()
    assert (np.diff([row["seconds"] for row in curve]) > 0).all()


@pytest.mark.slow
def test_the_weights_are_better_than_untrained_ones(trained: Path) -> None:
    """On the same batches of the last stage, which the training did not draw."""
    import torch

    recipe = Recipe.load("tiny")
    last, stage = len(recipe.stages) - 1, recipe.stages[-1]
    sets = Sets([[CandidateSet.load(path) for path in sorted((trained / "sets").glob("fast-*.npz"))]])
    to_train, _ = images.pictures(trained.parent / "data", recipe.sources, 32)
    values = []
    for model in (State.start(recipe).model, weights.load(str(trained / "tiny.safetensors")).model):
        made, losses = Trainer(recipe, State.start(recipe), to_train, sets, [], trained), []
        for number in range(20):
            made.state.stage, made.state.number = last, stage.batches + number
            batch = made._batch(stage)
            with torch.no_grad():
                known = Known(model, batch.candidates, batch.measured)
                x = model.consistency(typical(batch.candidates, recipe.network.replicas), batch.measured, 1.0)
                losses.append(float(loss(*denoise(model, x, known, 1.0), batch.truth)))
        values.append(float(np.mean(losses)))
    assert values[1] < values[0] - 2 * MARGIN


@pytest.mark.slow
def test_the_card(trained: Path) -> None:
    recipe, read = Recipe.load("tiny"), weights.load(str(trained / "tiny.safetensors"))
    assert read.card.name == "tiny"
    assert read.card.network == recipe.network
    assert read.card.sampling.steps == recipe.stages[-1].steps
    assert read.card.sampling.last == 1 / recipe.stages[-1].steps
    facts = read.card.training
    assert facts["recipe"] == recipe.model_dump(mode="json")
    assert facts["samples"] == sum(stage.batches * stage.batch * stage.steps for stage in recipe.stages)
    assert (facts["pictures"], facts["candidate_sets"]) == (4, sum(spec.count for spec in recipe.sets))
    assert facts["minutes"] >= 0
    assert read.card.sources == [{"source": "pictures", "origin": "unknown", "licence": "unknown", "pictures": 4}]
    text = (trained / "tiny.md").read_text(encoding="utf-8")
    for words in ("# Weights tiny", "4 pictures", facts["pictures_sha256"], "| pictures | unknown | unknown | 4 |"):
        assert words in text


@pytest.mark.slow
def test_the_weights_are_used(trained: Path, pattern: Path, settings: Path, run: Run) -> None:
    file = trained / "tiny.safetensors"
    values = yaml.safe_load(settings.read_text(encoding="utf-8")) | {"refine": {"weights": str(file), "views": 2}}
    settings.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = run("reconstruct", pattern, "r.zarr", "--config", settings, "--json")
    assert done.code == 0, done.err
    assert done.json["refined"] is True
    assert done.json["weights_sha256"] == weights.load(str(file)).sha256
    result = io.read_result("r.zarr")
    assert result.provenance["weights"]["name"] == "tiny"
    assert result.uncertainty_kind == "raw"
    assert result.classical is not None
    assert not np.array_equal(result.image, result.classical)
    assert "unet, widths" in run("weights", "info", file).out


@pytest.mark.slow
def test_a_finished_training_is_finished_at_once(trained: Path, tmp_path: Path, run: Run) -> None:
    again = tmp_path / "again"
    shutil.copytree(trained, again)
    before = rows(again), weights.load(str(again / "tiny.safetensors"))
    (again / "tiny.safetensors").unlink()
    words = ["--data", trained.parent / "data", "--output", again, "--device", "cpu", "--processes", 1]
    done = run("train", "tiny", *words)
    assert done.code == 0, done.err
    assert "PSNR" not in done.out
    after = weights.load(str(again / "tiny.safetensors"))
    assert rows(again) == before[0]
    assert after.sha256 == before[1].sha256


def test_a_stop_and_on_again(short: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the first validation; the same command goes on and ends where it would have ended."""
    words = ["train", short, "--data", "data", "--device", "cpu", "--processes", 1, "--cache", "sets", "--output"]
    whole = run(*words, "whole")
    assert whole.code == 0, whole.err
    look = Trainer._look

    def looked(self: Trainer, *details: Any) -> None:
        look(self, *details)
        if self.state.number == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_look", looked)
        stopped = run(*words, "parts")
    assert stopped.code == 3
    (line,) = stopped.err.splitlines()
    assert "run it again to go on" in line
    assert not Path("parts/short.safetensors").exists()
    rest = run(*words, "parts")
    assert rest.code == 0, rest.err
    both = [weights.load(f"{name}/short.safetensors").model.state_dict() for name in ("whole", "parts")]
    assert [row["batch"] for row in rows(Path("whole"))] == [2, 4]
    assert [row["batch"] for row in rows(Path("parts"))] == [2, 3, 4]
    assert sum("PSNR" in line for line in rest.out.splitlines()) == 1
    for name, value in both[0].items():
        np.testing.assert_allclose(both[1][name], value, rtol=0, atol=1e-3, err_msg=name)


def test_the_data_folder_of_the_environment(short: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("all").mkdir()
    Path("data").rename("all/train")
    monkeypatch.setenv("I2IPR_DATA", "all")
    done = run("train", short, "--device", "cpu", "--processes", 1)
    assert done.code == 0, done.err
    assert Path("training/short.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tiny"], "no data folder (None)"),
        (["tiny", "--data", "missing"], "no data folder (missing)"),
        (["tiny", "--data", "short.yaml"], "no data folder (short.yaml)"),
        (["tiny", "--data", "."], "no pictures; expected a tar or a folder of pictures"),
        (["tiny", "--data", "empty"], "no picture in"),
        (["huge", "--data", "data"], "the recipe 'huge'"),
        (["missing.yaml", "--data", "data"], "no recipe missing.yaml"),
        (["many.yaml", "--data", "data"], "1 validation pictures; expected 9"),
        (["wrong.yaml", "--data", "data"], "stages.0.batches = 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used(
    short: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.delenv("I2IPR_DATA", raising=False)
    values = yaml.safe_load(short.read_text(encoding="utf-8"))
    Path("many.yaml").write_text(yaml.safe_dump(values | {"validation": values["validation"] | {"count": 9}}))
    Path("wrong.yaml").write_text(yaml.safe_dump(values | {"stages": [{"data": "sets", "batches": 0}]}))
    Path("empty/pictures").mkdir(parents=True)
    done = run("train", *arguments, "--device", "cpu", "--processes", 1)
    assert (done.code, "Traceback" in done.err) == (2, False)
    (line,) = done.err.splitlines()
    assert line.startswith("error: got ")
    assert words in line
    assert not Path("training").exists()


def test_a_folder_of_another_training(short: Path, run: Run) -> None:
    words = ["--data", "data", "--device", "cpu", "--processes", 1]
    assert run("train", short, *words).code == 0
    values = yaml.safe_load(short.read_text(encoding="utf-8")) | {"seed": 7}
    short.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = run("train", short, *words)
    assert done.code == 2
    assert "a checkpoint of another recipe" in done.err
    Path("training/checkpoint.pt").write_bytes(b"words")
    done = run("train", short, *words)
    assert done.code == 2
    assert "delete it to start anew" in done.err
