"""The published network and its checkpoints: layout, units, times, and what is refused."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_i2ipr.errors import ConfigError, FormatError, InputError
from napari_i2ipr.physics.problem import Problem
from napari_i2ipr.refine import weights
from napari_i2ipr.refine.checkpoints import NETWORK, read_checkpoint
from napari_i2ipr.refine.consistency import Consistency, Measured, TabledConsistency
from napari_i2ipr.refine.networks import NetworkSpec
from napari_i2ipr.refine.sampler import VIEWS, Model, Viewed, indi

State = dict[str, Any]
MakeProblem = Callable[..., tuple[Problem, torch.Tensor]]

TINY = NetworkSpec(name="published", widths=(32, 32), blocks=(1, 1), replicas=1, steps_table=4)
TABLE = torch.tensor([0.1, 0.3, 0.5, 0.9])


def unet(widths: tuple[int, ...], layers: int) -> torch.nn.Module:
    """The network as its authors build it."""
    diffusers = pytest.importorskip("diffusers")
    plain = len(widths) - 2
    return diffusers.UNet2DModel(
        sample_size=256,
        in_channels=11,
        out_channels=1,
        layers_per_block=layers,
        block_out_channels=widths,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2 + ("UpBlock2D",) * plain,
    ).eval()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return unet((32, 32), 1)


@pytest.fixture
def state(network: torch.nn.Module) -> State:
    """What a checkpoint of `network` holds."""
    return {"lam": TABLE.clone(), **{NETWORK + key: value.clone() for key, value in network.state_dict().items()}}


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        torch.save(content, tmp_path / "theirs.pth")
        return tmp_path / "theirs.pth"

    return write


@pytest.mark.parametrize("layers", [2, 4])
def test_layout_at_full_size(layers: int) -> None:
    """The names and shapes that are expected are those of the network that was published."""
    widths = (128, 256, 256, 512, 512, 512)
    with torch.device("meta"):
        theirs = unet(widths, layers).state_dict()
        model = Model(NetworkSpec(name="published", widths=widths, blocks=(layers,) * 6, replicas=1, steps_table=32))
    ours = {key: value.shape for key, value in model.state_dict().items()}
    assert ours.pop("consistency.shares") == (32,)
    assert ours == {f"network.model.{key}": value.shape for key, value in theirs.items()}
    assert ours["network.model.conv_in.weight"] == (128, 11, 3, 3)
    assert ours["network.model.down_blocks.4.attentions.0.to_q.weight"] == (512, 512)
    assert ours["network.model.conv_out.weight"] == (1, 128, 3, 3)
    assert not any("down_blocks.3.attentions" in key for key in ours)


@pytest.mark.parametrize("within", [None, "state_dict", "model"])
def test_import(state: State, save: Callable[[Any], Path], tmp_path: Path, within: str | None) -> None:
    path = save(state if within is None else {within: state, "epoch": 7})
    model, card = read_checkpoint(path, "ours")
    assert card.name == "ours"
    assert card.network == TINY
    assert (card.sampling.sampler, card.sampling.steps) == ("indi", 4)
    assert (card.bfloat16, card.calibration, card.training["imported_from"]) == (False, None, "theirs.pth")
    weights.save(model, card, tmp_path / "ours.safetensors")
    read = weights.load(str(tmp_path / "ours.safetensors"))
    assert read.card == card
    found = read.model.state_dict()
    torch.testing.assert_close(found["consistency.shares"], TABLE, rtol=0, atol=0)
    for key, value in state.items():
        if key != "lam":
            ours = found["network.model." + key.removeprefix(NETWORK)]
            torch.testing.assert_close(ours, value.half().float(), rtol=0, atol=0)


def test_lambda_beyond_0_and_1_is_before_the_sigmoid(state: State, save: Callable[[Any], Path]) -> None:
    table = torch.tensor([-3.0, 0.2, 0.4, 2.0]).reshape(4, 1, 1)
    model, card = read_checkpoint(save(state | {"lam": table}), "ours")
    torch.testing.assert_close(model.state_dict()["consistency.shares"], torch.sigmoid(table.flatten()))
    assert "sigmoid" in card.training["lambda"]


def test_the_output_is_the_published_one(network: torch.nn.Module) -> None:
    """Ten candidates at grey levels over 255, an integer time, the change on top of the mean of all eleven."""
    model = Model(TINY)
    model.network.model.load_state_dict(network.state_dict())
    generator = torch.Generator().manual_seed(0)
    grey = 254 * torch.rand((2, 11, 8, 6), generator=generator)
    grey[:, 1:, 0, 0] = 255  # so that white is 255
    image, candidates, unit = grey[:, :1], grey[:, 1:], torch.tensor([80.0, 40.0])[:, None, None, None]
    for time, step in ((1.0, 4), (0.5, 2), (0.25, 1), (0.01, 1)):
        with torch.no_grad():
            inputs = torch.cat([image, model.network.encode(candidates)], 1) / 255
            expected = 255 * (network(inputs, torch.tensor([step, step])).sample + inputs.mean(1, keepdim=True))
            condition = torch.tensor([[time, 0.3, 0.1]]).expand(2, -1)
            features = model.network.encode(candidates / unit)
            found, log_variance = model.network(image / unit, features, candidates.mean(1, True) / unit, condition)
        torch.testing.assert_close(found * unit, expected, rtol=1e-3, atol=1e-2)
        assert log_variance.shape == (2, 1, 8, 6)


@pytest.mark.parametrize(("count", "shape"), [(1, (9, 7)), (3, (16, 16)), (12, (5, 11))])
def test_any_number_of_candidates_and_any_size(network: torch.nn.Module, count: int, shape: tuple[int, int]) -> None:
    model = Model(TINY)
    candidates = torch.rand((1, count, *shape), generator=torch.Generator().manual_seed(1))
    features = model.network.encode(candidates)
    assert features.shape == (1, 10, *shape)
    away = (candidates - candidates.mean(1, keepdim=True)).square().mean((-2, -1))[0].argsort()
    torch.testing.assert_close(features[0], candidates[0, [away[i % count] for i in range(10)]])
    with torch.no_grad():
        found, _ = model.network(candidates[:, :1], features, candidates.mean(1, keepdim=True), torch.ones(1, 3))
        dark, _ = model.network(*[torch.zeros(1, n, *shape) for n in (1, 10, 1)], torch.ones(1, 3))
    assert found.shape == (1, 1, *shape)
    assert bool(found.isfinite().all() & dark.isfinite().all())


def test_the_sampler_walks(make_problem: MakeProblem, network: torch.nn.Module) -> None:
    problem, truth = make_problem((24, 20), alpha=0.05)
    measured, model = Measured.of(problem), Model(TINY)
    model.network.model.load_state_dict(network.state_dict())
    candidates = truth[..., problem.box[0], problem.box[1]] + 0.1 * torch.rand(1, 4, 12, 10)
    with torch.inference_mode():
        for view in VIEWS[:2]:
            image, variance = indi(Viewed(model, view), candidates, measured, 4)
            assert image.shape == variance.shape == (1, 12, 10)
            assert bool(image.isfinite().all() & (image >= 0).all() & (variance > 0).all())


def test_the_table_takes_the_nearest_time(make_problem: MakeProblem) -> None:
    step, seen = TabledConsistency(4), []
    step.load_state_dict({"shares": TABLE})
    measured = Measured.of(make_problem((16, 16), alpha=0.1)[0])
    for time in (1.0, 0.75, 0.5, 0.25, 0.9, 0.05):
        weight = step.weight(measured, time)
        assert bool((weight == weight.flatten()[0]).all())
        seen.append(float(weight.flatten()[0]))
    assert seen == pytest.approx([0.9, 0.5, 0.3, 0.1, 0.9, 0.1])


def test_at_lambda_one_the_measurement_is_met(make_problem: MakeProblem) -> None:
    problem, truth = make_problem((16, 18))
    step = TabledConsistency(1)
    step.load_state_dict({"shares": torch.ones(1)})
    box = truth[..., problem.box[0], problem.box[1]]
    torch.testing.assert_close(step(box, Measured.of(problem), 1.0), box, rtol=0, atol=1e-3)


def test_other_networks_are_as_they_were() -> None:
    """Their weights and fingerprints are older than the table."""
    assert "steps_table" not in NetworkSpec().model_dump()
    assert NetworkSpec.model_validate_json(TINY.model_dump_json()) == TINY
    plain = Model(NetworkSpec(widths=(4, 8), blocks=(1, 1), set_width=4)).consistency
    assert type(plain) is Consistency
    assert list(plain.state_dict()) == ["strength", "relaxation"]
    assert list(TabledConsistency(4).state_dict()) == ["shares"]


@pytest.mark.parametrize(
    "change", [{"replicas": 2}, {"steps_table": 0}, {"widths": (32, 40)}, {"blocks": (1, 2)}, {"widths": (0, 32)}]
)
def test_no_such_network(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="published network"):
        Model(TINY.model_copy(update=change))


def test_without_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"pip install .*published"):
        Model(TINY)


class Harmful:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of the checkpoint was run",))


KEY = NETWORK + "conv_in.weight"
WRONG = {
    "no lam": (lambda s: s.pop("lam"), "without 'lam'"),
    "no network": (lambda s: [s.pop(key) for key in list(s) if key != "lam"], "without 'denoiser.model.down_blocks.0"),
    "an entry too few": (lambda s: s.pop(NETWORK + "conv_out.bias"), "without 'denoiser.model.conv_out.bias'"),
    "an entry too many": (lambda s: s.update({NETWORK + "a": torch.ones(1)}), "odd entry 'denoiser.model.a'"),
    "a foreign entry": (lambda s: s.update(optimiser=torch.ones(1)), "odd entry 'optimiser'"),
    "no tensor": (lambda s: s.update({KEY: 3}), "odd entry 'denoiser.model.conv_in.weight'"),
    "another shape": (lambda s: s.update({KEY: torch.ones(32, 2, 3, 3)}), r"shape \(32, 2, 3, 3\)"),
    "other widths": (lambda s: s.update({NETWORK + "down_blocks.1.resnets.0.conv1.weight": torch.ones(7)}), "widths"),
    "too large": (lambda s: s.update({KEY: torch.full((32, 11, 3, 3), 1e6)}), "float16"),
    "not finite": (lambda s: s.update(lam=torch.tensor([0.5, torch.nan])), "not finite"),
    "too many times": (lambda s: s.update(lam=torch.rand(65)), "65 values"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_layouts(state: State, save: Callable[[Any], Path], name: str) -> None:
    change, words = WRONG[name]
    change(state)
    with pytest.raises(FormatError, match=words):
        read_checkpoint(save(state), "ours")


def test_code_is_not_run(state: State, save: Callable[[Any], Path], tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="more than tensors"):
        read_checkpoint(save(state | {"x": Harmful()}), "ours")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(FormatError):
        read_checkpoint(tmp_path / "plain.pth", "ours")


def test_damaged_files(state: State, save: Callable[[Any], Path], tmp_path: Path) -> None:
    whole = save(state).read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"\x80\x02", bytes(999), b"no checkpoint"):
        path = tmp_path / "damaged.pth"
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"damaged\.pth"):
            read_checkpoint(path, "ours")
    for content in ([1, 2], {}, torch.ones(3)):
        with pytest.raises(FormatError, match="no state dict"):
            read_checkpoint(save(content), "ours")
    with pytest.raises(InputError, match="no file"):
        read_checkpoint(tmp_path / "missing.pth", "ours")
    with pytest.raises(InputError, match="no file"):
        read_checkpoint(tmp_path, "ours")
