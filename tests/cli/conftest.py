"""Small files and settings, and the command in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from napari_i2ipr.cli import _terminal
from napari_i2ipr.cli.app import app

SETTINGS = """
initialisation: {n_starts: 3, short: "HIO:5", n_keep: 2, long: "HIO:20 ER:5", final: ""}
compute: {threads: 1}
refine: {enabled: false}
"""


class Done(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def not_verbose() -> None:
    """What ``-v`` of an earlier test set."""
    _terminal.be_verbose(False)


@pytest.fixture
def run() -> Run:
    """Run ``i2ipr`` with arguments; what is no `I2IPRError` is raised here."""

    def command(*arguments: object) -> Done:
        done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False, prog_name="i2ipr")
        return Done(done.exit_code, done.stdout, done.stderr)

    return command


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Makes an 8-bit image of blobs from a seed."""

    def make(seed: int = 0, side: int = 32) -> np.ndarray:
        smooth = gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 2)
        return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def counts(picture: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Makes a noise-free pattern of whole numbers, 64 x 64 px, from a seed."""

    def make(seed: int = 0) -> np.ndarray:
        frame = np.zeros((64, 64))
        frame[16:48, 16:48] = picture(seed)
        return np.round(np.abs(np.fft.fftshift(np.fft.fft2(frame))) ** 2 / 500).astype(np.float32)

    return make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def image(folder: Path, picture: Callable[..., np.ndarray]) -> Path:
    """``image.png``, 32 x 32 px."""
    Image.fromarray(picture()).save("image.png")
    return Path("image.png")


@pytest.fixture
def settings(folder: Path) -> Path:
    """``tiny.yaml``: settings that take no time, the classical half alone."""
    Path("tiny.yaml").write_text(SETTINGS, encoding="utf-8")
    return Path("tiny.yaml")


@pytest.fixture
def refining(folder: Path) -> Path:
    """``refining.yaml``: the same, refined."""
    text = SETTINGS.replace("{enabled: false}", "{views: 1}")
    Path("refining.yaml").write_text(text, encoding="utf-8")
    return Path("refining.yaml")


@pytest.fixture
def pattern(image: Path, run: Run) -> Path:
    """``pattern.cxi``, the noisy pattern of `image`, 64 x 64 px."""
    done = run("simulate", image, "pattern.cxi", "--alpha", 3, "--seed", 1)
    assert done.code == 0, done.err
    return Path("pattern.cxi")


@pytest.fixture
def result(pattern: Path, settings: Path, run: Run) -> Path:
    """``result.zarr``, a bad reconstruction of `pattern`."""
    done = run("reconstruct", pattern, "result.zarr", "--config", settings)
    assert done.code == 0, done.err
    return Path("result.zarr")
