"""``i2ipr weights``: what is listed and said, and published checkpoints that are brought in and used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from napari_i2ipr.io import read_result
from napari_i2ipr.refine import weights
from napari_i2ipr.refine.uncertainty import Calibration

Run = Callable[..., Any]
MakeWeights = Callable[..., Path]

CARD = {
    "calibration": Calibration(raw=(1e-9, 1e3), expected=(1e-9, 1e3), scales={"0.5": 0.6, "0.9": 1.75}, images=40),
    "max_chi_ratio": 1.25,
    "metrics": {"psnr": {"classical": 20.5, "refined": 24.25}},
    "training": {"recipe": "cpu", "hours": 1.5},
    "sources": [{"name": "photographs", "licence": "CC0-1.0"}],
}


@pytest.fixture
def shipped(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two files in place of those that come with the package."""
    files = {weights.DEFAULT: make_weights(**CARD), "other": make_weights()}
    monkeypatch.setattr(weights, "shipped", lambda: files)
    return files


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    """``theirs.pth``, a small checkpoint in the published layout."""
    diffusers = pytest.importorskip("diffusers")
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = diffusers.UNet2DModel(
            in_channels=11,
            out_channels=1,
            layers_per_block=1,
            block_out_channels=(32, 32),
            down_block_types=("AttnDownBlock2D",) * 2,
            up_block_types=("AttnUpBlock2D",) * 2,
        )
    state = {f"denoiser.model.{key}": value for key, value in network.state_dict().items()}
    torch.save({"lam": torch.tensor([0.1, 0.3, 0.5, 0.9]), **state}, "theirs.pth")
    return Path("theirs.pth")


def refused(done: Any, *words: str) -> None:
    """One line, starting with ``error:``, and exit code 2."""
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: got ")
    for word in words:
        assert word in line


def test_list(shipped: dict[str, Path], run: Run) -> None:
    done = run("weights", "list")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    for word in (weights.DEFAULT, "default", "MB", "million parameters", ", calibrated", "psnr refined 24.25"):
        assert word in first
    assert second.startswith("other")
    assert "not calibrated" in second
    assert "default" not in second
    values = run("weights", "list", "--json").json["weights"]
    assert [(v["name"], v["default"]) for v in values] == [(weights.DEFAULT, True), ("other", False)]


def test_nothing_shipped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "shipped", dict)
    done = run("weights", "list")
    assert done.code == 0
    assert "no weights" in done.out
    assert run("weights", "list", "--json").json == {"weights": []}


def test_info(shipped: dict[str, Path], run: Run) -> None:
    loaded = weights.load()
    done = run("weights", "info", "default")
    assert (done.code, done.err) == (0, "")
    for word in (
        loaded.sha256,
        "unet, widths 4 8, blocks 1 1, 2 replicas",
        "evolving, 2 steps, float32",
        "on 40 images; 50 % within 0.6, 90 % within 1.75 times the uncertainty",
        "beyond 1.25",
        "psnr classical 20.5",
        "hours 1.5",
        "licence CC0-1.0",
    ):
        assert word in done.out
    values = run("weights", "info", shipped[weights.DEFAULT], "--json").json
    assert values["sha256"] == loaded.sha256
    assert values["bytes"] == shipped[weights.DEFAULT].stat().st_size
    assert values["parameters"] == sum(value.numel() for value in loaded.model.state_dict().values())
    assert weights.Card.model_validate({key: values[key] for key in weights.Card.model_fields}) == loaded.card
    words = run("weights", "info", "other").out
    for word in ("none: the uncertainty is the raw one", "no limit", "none given"):
        assert word in words


def test_bad_files(folder: Path, make_weights: MakeWeights, run: Run) -> None:
    whole = make_weights().read_bytes()
    save_file({"a": np.zeros(3, np.float32)}, "foreign.safetensors")
    for name, content in {"cut": whole[: len(whole) // 2], "head": whole[:50], "empty": b"", "text": b"words"}.items():
        Path(f"{name}.safetensors").write_bytes(content)
        refused(run("weights", "info", f"{name}.safetensors"), f"{name}.safetensors", "cannot be read")
    refused(run("weights", "info", "foreign.safetensors"), "i2ipr weights import")
    refused(run("weights", "info", "missing.safetensors"), "no weights")
    refused(run("weights", "info", "."), "no weights")


def test_import(checkpoint: Path, pattern: Path, settings: Path, run: Run) -> None:
    done = run("weights", "import", checkpoint, "ours.safetensors")
    assert (done.code, done.err) == (0, "")
    for word in ("imported theirs.pth into ours.safetensors", "published", "indi, 4 steps, float32", "as stored"):
        assert word in done.out
    refused(run("weights", "import", checkpoint, "ours.safetensors"), "--overwrite")
    values = run("weights", "import", checkpoint, "ours.safetensors", "--overwrite", "--json").json
    assert values["network"]["steps_table"] == 4
    assert values["training"]["imported_from"] == "theirs.pth"
    assert run("weights", "info", "ours.safetensors", "--json").json == values

    text = settings.read_text(encoding="utf-8")
    settings.write_text(f"{text}refine: {{enabled: true, weights: ours.safetensors, views: 1}}\n", encoding="utf-8")
    done = run("reconstruct", pattern, "r.cxi", "--config", settings, "--json")
    assert done.code == 0, done.err
    assert done.json["weights_sha256"] == values["sha256"]
    assert done.json["refine_seconds"] > 0
    assert read_result("r.cxi").uncertainty_kind == "raw"


def test_bad_imports(checkpoint: Path, run: Run) -> None:
    import torch

    before = sorted(Path().iterdir())
    refused(run("weights", "import", "missing.pth", "o.safetensors"), "no file missing.pth")
    refused(run("weights", "import", checkpoint, "o.pth"), ".safetensors")
    assert run("weights", "import", checkpoint, "nowhere/o.safetensors").code == 5
    assert sorted(Path().iterdir()) == before
    torch.save({"lam": torch.rand(4), "w": torch.rand(2)}, "other.pth")
    refused(run("weights", "import", "other.pth", "o.safetensors"), "odd entry 'w'")
    Path("cut.pth").write_bytes(checkpoint.read_bytes()[:5000])
    refused(run("weights", "import", "cut.pth", "o.safetensors"), "cut.pth", "cannot be read")
    assert not Path("o.safetensors").exists()
