"""What every restoration network of the table must do; "published" has tests of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.refine.networks import CONDITIONS, NETWORKS, NetworkSpec, build
from napari_i2ipr.refine.networks._base import LOG_VARIANCE_START, Network, typical

OWN = [name for name in NETWORKS if name != "published"]
SIZES = [(16, 16), (17, 24), (21, 19), (5, 33)]
SHAPES = [((8, 16), (1, 1)), ((8, 12, 16), (0, 1, 2)), ((8,), (1,))]

every_network = pytest.mark.parametrize("name", OWN)
every_size = pytest.mark.parametrize("size", SIZES, ids=str)


def made(name: str, widths: tuple[int, ...] = (8, 16), blocks: tuple[int, ...] = (1, 1), **more: Any) -> Network:
    """An untrained network, always the same one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(NetworkSpec(**{"set_width": 4, "replicas": 2, **more, "name": name}, widths=widths, blocks=blocks))


def stirred(network: Network) -> Network:
    """The network with random numbers in place of all parameters, so that none of them is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


def inputs(
    size: tuple[int, int], *, batch: int = 2, count: int = 3, replicas: int = 2, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, candidates, conditions."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((batch, replicas, *size), generator=generator)
    candidates = torch.rand((batch, count, *size), generator=generator)
    return images, candidates, torch.rand((batch, len(CONDITIONS)), generator=generator)


def restored(
    network: Network, images: torch.Tensor, candidates: torch.Tensor, condition: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's answer, for candidates as they come."""
    out: tuple[torch.Tensor, torch.Tensor] = network(
        images, network.encode(candidates), candidates.mean(1, keepdim=True), condition
    )
    return out


@every_size
@pytest.mark.parametrize(("widths", "blocks"), SHAPES, ids=str)
@every_network
def test_any_size_comes_back(
    name: str, widths: tuple[int, ...], blocks: tuple[int, ...], size: tuple[int, int]
) -> None:
    network = stirred(made(name, widths, blocks))
    images, candidates, condition = inputs(size)
    assert network.encode(candidates).shape[-2:] == size
    image, log_variance = restored(network, images, candidates, condition)
    assert (image.shape, image.dtype) == (images.shape, torch.float32)
    assert (log_variance.shape, log_variance.dtype) == ((2, 1, *size), torch.float32)
    assert bool(image.isfinite().all() & log_variance.isfinite().all())


@pytest.mark.parametrize("count", [1, 2, 3, 11])
@pytest.mark.parametrize("replicas", [1, 3])
@every_network
def test_any_number_of_candidates_and_replicas(name: str, replicas: int, count: int) -> None:
    network = stirred(made(name, replicas=replicas))
    images, candidates, condition = inputs((13, 10), count=count, replicas=replicas)
    image, log_variance = restored(network, images, candidates, condition)
    assert image.shape == (2, replicas, 13, 10)
    assert bool(image.isfinite().all() & log_variance.isfinite().all())
    one = candidates[:, :1]
    torch.testing.assert_close(network.encode(one.expand(-1, 4, -1, -1)), network.encode(one), rtol=1e-4, atol=1e-5)


@every_size
@every_network
def test_the_order_of_the_candidates_does_not_matter(name: str, size: tuple[int, int]) -> None:
    network = stirred(made(name))
    images, candidates, condition = inputs(size, count=5)
    mixed = candidates[:, [3, 0, 4, 2, 1]]
    for first, other in zip(
        restored(network, images, candidates, condition), restored(network, images, mixed, condition), strict=True
    ):
        torch.testing.assert_close(other, first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(typical(mixed, 7), typical(candidates, 7), rtol=0, atol=0)


@every_network
def test_images_of_a_batch_do_not_see_each_other(name: str) -> None:
    network = stirred(made(name))
    images, candidates, condition = inputs((18, 13), batch=3)
    together = restored(network, images, candidates, condition)
    for b in range(3):
        part = slice(b, b + 1)
        alone = restored(network, images[part], candidates[part], condition[part])
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one, all_of_them[part], rtol=1e-4, atol=1e-5)


@every_size
@every_network
def test_an_untrained_network_changes_nothing_it_is_not_asked_for(name: str, size: tuple[int, int]) -> None:
    """All replicas are a mixture of the candidates' mean and theirs; the same error is expected everywhere."""
    network = made(name)
    images, candidates, condition = inputs(size)
    mean, theirs = candidates.mean(1, keepdim=True), images.mean(1, keepdim=True)
    image, log_variance = (out.detach() for out in restored(network, images, candidates, condition))
    gate = torch.sigmoid(network.gate(network.embedding(condition))).detach()[:, :, None, None]
    assert bool(((gate > 0) & (gate < 1)).all())
    torch.testing.assert_close(image, (mean + gate * (theirs - mean)).expand_as(image), rtol=1e-5, atol=1e-6)
    assert bool((log_variance == LOG_VARIANCE_START).all())
    image, _ = restored(network, mean.expand_as(images), candidates, condition)
    torch.testing.assert_close(image, mean.expand_as(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", range(len(CONDITIONS)), ids=CONDITIONS)
@every_network
def test_every_condition_counts(name: str, number: int) -> None:
    network = stirred(made(name))
    images, candidates, condition = inputs((12, 9))
    other = condition.clone()
    other[:, number] += 0.5
    with torch.no_grad():
        first, changed = (restored(network, images, candidates, c) for c in (condition, other))
    assert not torch.equal(first[0], changed[0])
    assert not torch.equal(first[1], changed[1])


@pytest.mark.parametrize(("widths", "blocks"), SHAPES, ids=str)
@every_network
def test_every_parameter_learns(name: str, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    network = stirred(made(name, widths, blocks))
    image, log_variance = restored(network, *inputs((17, 14)))
    (image.square().sum() + log_variance.square().sum()).backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None, label
        assert bool(parameter.grad.isfinite().all()), label
        assert bool(parameter.grad.any()), label


@pytest.mark.parametrize("count", [1, 2])
@every_network
def test_the_first_step_of_a_training_is_finite(name: str, count: int) -> None:
    """Also where all candidates are the same, and their spread has no slope."""
    network = made(name)
    images, candidates, condition = inputs((16, 11))
    image, log_variance = restored(network, images, candidates[:, :1].expand(-1, count, -1, -1), condition)
    (image.square().sum() + log_variance.sum()).backward()
    tails = [p.grad for label, p in network.named_parameters() if label.startswith("tail")]
    assert tails
    assert all(grad is not None and bool(grad.any()) for grad in tails)
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())


@every_network
def test_the_same_numbers_give_the_same_bits(name: str) -> None:
    assert all(torch.equal(a, b) for a, b in zip(made(name).parameters(), made(name).parameters(), strict=True))
    network = stirred(made(name))
    first, second = restored(network, *inputs((15, 16))), restored(network, *inputs((15, 16)))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@every_network
def test_another_number_of_widths_than_of_blocks(name: str) -> None:
    with pytest.raises(ConfigError, match="3 widths and 2 blocks"):
        made(name, (8, 8, 8), (1, 1))


def test_unknown_name() -> None:
    with pytest.raises(ValidationError, match=r"the network 'resnet'.*unet, nafnet"):
        NetworkSpec(name="resnet")


@pytest.mark.parametrize(
    "wrong", [{"widths": ()}, {"blocks": ()}, {"replicas": 0}, {"set_width": 0}, {"steps_table": -1}, {"depth": 3}]
)
def test_wrong_numbers(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        NetworkSpec(**wrong)


def test_the_base_has_no_trunk() -> None:
    images, candidates, condition = inputs((8, 8))
    with pytest.raises(TypeError, match="Network has no trunk"):
        restored(Network(NetworkSpec(widths=(8,), blocks=(1,), set_width=4, replicas=2)), images, candidates, condition)
