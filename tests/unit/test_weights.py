"""Weights files: what goes in comes out, what does not fit is refused, and what every shipped one must have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from napari_i2ipr.errors import ConfigError, FormatError, I2IPRError, InputError
from napari_i2ipr.refine import weights
from napari_i2ipr.refine.indi import Sampling
from napari_i2ipr.refine.networks import NetworkSpec
from napari_i2ipr.refine.sampler import Model
from napari_i2ipr.refine.uncertainty import Calibration
from napari_i2ipr.refine.weights import DEFAULT, KEY, LARGEST, Card, Checked, find, load, read_card, save, shipped

MakeWeights = Callable[..., Path]

TINY = NetworkSpec(widths=(4, 8), blocks=(1, 1), set_width=4, replicas=2)
FULL = {
    "sampling": Sampling(sampler="indi", steps=7),
    "calibration": Calibration(raw=(1e-9, 0.1), expected=(1e-8, 0.2), scales={"0.9": 1.75}, images=40),
    "max_chi_ratio": 1.25,
    "metrics": {"psnr": 24.25, "images": 40},
    "training": {"recipe": {"name": "tiny", "sources": ["a", "b"]}, "minutes": 1.5},
    "sources": [{"source": "photographs", "licence": "CC0-1.0", "pictures": 3}],
}

PATHS = shipped()
every_shipped = pytest.mark.parametrize("name", PATHS)


@pytest.fixture
def model() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Model(TINY)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter)
    return made


def test_round_trip(model: Model, tmp_path: Path) -> None:
    """Convolutions are rounded to float16, the few numbers of the data consistency are not."""
    path, card = tmp_path / "new" / "mine.safetensors", Card(name="mine", network=TINY, **FULL)
    save(model, card, path)
    read = load(str(path))
    assert (read.card, read.path) == (card, path)
    assert read.card.model_dump() == card.model_dump()
    assert read_card(path) == card
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [file.name for file in path.parent.iterdir()] == ["mine.safetensors"]
    found = read.model.state_dict()
    assert list(found) == list(model.state_dict())
    rounded = 0
    for name, value in model.state_dict().items():
        assert found[name].dtype == torch.float32
        kept = value if name.startswith("consistency.") else value.half().float()
        rounded += int(not torch.equal(kept, value))
        assert torch.equal(found[name], kept), name
    assert rounded
    assert not read.model.training
    assert not any(parameter.requires_grad for parameter in read.model.parameters())


def test_a_second_trip_changes_no_bit(model: Model, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save(model, Card(name="mine", network=TINY, **FULL), first)
    read = load(str(first))
    save(read.model, read.card, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_card_of_defaults_is_small(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(model, Card(name="mine", network=TINY), path)
    card = read_card(path)
    assert (card.calibration, card.max_chi_ratio, card.metrics, card.sources) == (None, None, {}, [])
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) == {KEY}
    assert path.stat().st_size < 2 * sum(p.numel() for p in model.parameters()) + 20_000


@pytest.mark.parametrize(
    ("shape", "side"), [((48, 48), 64), ((80, 100), 64), ((104, 80), 128), ((96, 96), 128), ((1000, 300), 256)]
)
def test_the_nearest_size_as_a_ratio(shape: tuple[int, int], side: int) -> None:
    """80 x 100 has a side of 89.4 px; 64 and 128 are equally far from 90.5."""
    sizes = tuple(Checked(side_px=px) for px in (128, 64))
    card = Card(name="mine", network=TINY, side_px=256, other_sizes=sizes)
    assert card.checked(shape).side_px == side
    assert Card(name="mine", network=TINY).checked(shape).side_px is None


def test_a_file_is_read_once_and_again_when_it_changes(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(model, Card(name="first", network=TINY), path)
    first = load(str(path))
    assert load(str(path)) is first
    with torch.no_grad():
        model.consistency.strength += 1
    save(model, Card(name="second", network=TINY), path)
    second = load(str(path))
    assert (first.card.name, second.card.name) == ("first", "second")
    assert first.sha256 != second.sha256
    torch.testing.assert_close(second.model.consistency.strength, first.model.consistency.strength + 1)


def test_names(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {DEFAULT: make_weights(), "other": make_weights()}
    monkeypatch.setattr(weights, "shipped", lambda: files)
    assert find("default") == find(DEFAULT) == files[DEFAULT]
    assert find("other") == files["other"]
    assert find(str(files["other"])) == files["other"]
    with pytest.raises(InputError, match=rf"no weights 'another'; expected a \.safetensors file or {DEFAULT}, other"):
        find("another")
    monkeypatch.setattr(weights, "shipped", dict)
    with pytest.raises(InputError, match=r"no weights 'default'.*none shipped"):
        load()


def test_missing_and_odd_paths(tmp_path: Path) -> None:
    for name in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(InputError, match="no weights"):
            load(str(name))


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": np.zeros(3, np.float32)}, path, metadata=metadata)
        for read in (read_card, lambda file: load(str(file))):
            with pytest.raises(FormatError, match=r"foreign\.safetensors.*i2ipr weights import"):
                read(path)


def test_damaged_files(make_weights: MakeWeights, tmp_path: Path) -> None:
    whole = make_weights().read_bytes()
    for content in (b"", b"words", whole[:7], whole[:50], whole[: len(whole) // 2], whole[:-1], bytes(999)):
        path = tmp_path / "damaged.safetensors"
        path.write_bytes(content)
        for read in (read_card, lambda file: load(str(file))):
            with pytest.raises(FormatError, match=r"damaged\.safetensors, which cannot be read"):
                read(path)


@pytest.mark.parametrize(
    "other",
    [{"widths": (4, 12)}, {"widths": (4, 8, 8), "blocks": (1, 1, 1)}, {"blocks": (1, 2)}, {"name": "nafnet"}],
    ids=str,
)
def test_weights_of_another_network(model: Model, tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "odd.safetensors"
    save(model, Card(name="odd", network=TINY.model_copy(update=other)), path)
    assert read_card(path).name == "odd"
    with pytest.raises(FormatError, match=r"odd\.safetensors, whose weights do not fit their network"):
        load(str(path))


CARDS = {
    "no card": ("[1", "card is wrong"),
    "another network": ({"network": {"name": "resnet"}}, r"network\.name.*'resnet'.*update napari-i2ipr"),
    "from the future": ({"optics": 3}, "wrong at optics.*update napari-i2ipr"),
    "no name": ({"name": None}, "wrong at name"),
    "odd steps": ({"sampling": {"steps": 0}}, r"wrong at sampling\.steps"),
}


@pytest.mark.parametrize("kind", CARDS)
def test_cards_that_cannot_be_understood(tmp_path: Path, kind: str) -> None:
    change, words = CARDS[kind]
    card = Card(name="a", network=TINY).model_dump(mode="json")
    text = change if isinstance(change, str) else json.dumps(card | change)
    path = tmp_path / "odd.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, path, metadata={KEY: text})
    with pytest.raises(FormatError, match=words) as caught:
        load(str(path))
    assert "odd.safetensors" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_network_that_cannot_be_built(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save(model, Card(name="odd", network=TINY.model_copy(update={"widths": (4, 8, 8)})), path)
    with pytest.raises(I2IPRError, match="3 widths and 2 blocks") as caught:
        load(str(path))
    assert isinstance(caught.value, ConfigError | FormatError)


def test_what_default_stands_for_is_shipped() -> None:
    assert DEFAULT in PATHS
    assert find("default") == PATHS[DEFAULT]


@every_shipped
def test_shipped_weights_load_and_are_small(name: str) -> None:
    assert PATHS[name].stat().st_size <= LARGEST
    read = load(name)
    assert read.card.name == name
    assert all(bool(value.isfinite().all()) for value in read.model.state_dict().values())


@every_shipped
def test_shipped_weights_are_calibrated(name: str) -> None:
    card = read_card(PATHS[name])
    sizes = (card, *card.other_sizes)
    assert [one.side_px for one in sizes] == [256, 128, 64]
    for one in sizes:
        assert one.calibration is not None
        assert one.calibration.images >= 100
        assert set(one.calibration.scales) >= {"0.68", "0.9", "0.95"}
        assert (np.diff(one.calibration.raw) > 0).all()
        assert (np.diff(one.calibration.expected) >= 0).all()
        assert one.max_chi_ratio is not None
        assert one.max_chi_ratio > 0
        assert one.metrics["images"] == one.calibration.images


@every_shipped
def test_shipped_weights_say_where_they_are_from(name: str) -> None:
    card = read_card(PATHS[name])
    assert card.sources
    for source in card.sources:
        assert source["licence"] not in ("", "unknown"), source
        assert source["pictures"] > 0
    for fact in ("recipe", "minutes", "samples", "pictures", "pictures_sha256", "hardware"):
        assert card.training[fact], fact
    assert card.training["recipe"]["network"] == card.network.model_dump(mode="json")
