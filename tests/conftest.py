"""What all tests share: the order (fast before slow) and the folder of measured data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        metavar="DIR",
        default=os.environ.get("I2IPR_DATA"),
        help="folder with measured patterns and images (default: the environment variable I2IPR_DATA); "
        "tests that need it are skipped without it",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run everything quick before anything marked slow, each in the order it was collected."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Top level of the checkout that holds these tests."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir(pytestconfig: pytest.Config) -> Path:
    """Folder of measured patterns and images; skips the test where there is none."""
    given = pytestconfig.getoption("--data")
    if not given:
        pytest.skip("needs measured data: --data DIR or I2IPR_DATA")
    folder = Path(given).expanduser().resolve()
    if not folder.is_dir():
        pytest.fail(f"got {folder} as the data folder; expected an existing folder; correct --data or I2IPR_DATA")
    return folder


@pytest.fixture(scope="session")
def make_object() -> Callable[..., Any]:
    """Objects in which every pixel is drawn by itself: no symmetry, no free shift, easy to recover."""
    import torch

    def make(shape: tuple[int, ...], seed: int = 0, *, real: bool = True) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        values = torch.rand(shape, generator=generator)
        return values if real else torch.polar(values, 2 * torch.rand(shape, generator=generator))

    return make


@pytest.fixture(scope="session")
def make_problem(make_object: Callable[..., Any]) -> Callable[..., Any]:
    """Noise-free (or noisy) problems with their true objects, ``(B, 1, y, x)`` in normalised units."""
    import torch

    from napari_i2ipr.physics.noise import add_alpha_noise
    from napari_i2ipr.physics.problem import Problem
    from napari_i2ipr.physics.support import half_box

    def make(
        frame: tuple[int, int],
        *,
        real: bool = True,
        batch: int = 1,
        alpha: float = 0.0,
        support: torch.Tensor | None = None,
        measured: torch.Tensor | None = None,
        **build: Any,
    ) -> tuple[Problem, torch.Tensor]:
        support = half_box(frame) if support is None else support
        truth = torch.stack([make_object(frame, index, real=real) for index in range(batch)]) * support
        intensity = torch.fft.fft2(truth, norm="ortho").abs().square()
        intensity = add_alpha_noise(intensity, alpha, torch.Generator().manual_seed(1))
        measured = torch.ones(batch, *frame, dtype=torch.bool) if measured is None else measured.expand(batch, *frame)
        problem = Problem.build(intensity, measured, support, real=real, **build)
        return problem, (truth / problem.scale[:, None, None])[:, None]

    return make


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Files of small untrained weights, always the same ones; what is given goes into their card."""
    import torch

    from napari_i2ipr.refine.indi import Sampling
    from napari_i2ipr.refine.networks import NetworkSpec
    from napari_i2ipr.refine.sampler import Model
    from napari_i2ipr.refine.weights import Card, save

    def make(widths: tuple[int, ...] = (4, 8), **card: Any) -> Path:
        spec = NetworkSpec(widths=widths, blocks=(1,) * len(widths), set_width=4, replicas=2)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = Model(spec)
            for parameter in model.network.parameters():  # some begin at zero, and so would do nothing
                torch.nn.init.normal_(parameter, std=0.05)
        path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
        usual = {"name": "tiny", "network": spec, "bfloat16": False, "sampling": Sampling(steps=2)}
        save(model, Card(**{**usual, **card}), path)
        return path

    return make
