"""Start supports and the memory estimate."""

from __future__ import annotations

import pytest
import torch

from napari_i2ipr.errors import InputError, OutOfMemoryError
from napari_i2ipr.physics import memory
from napari_i2ipr.physics.support import autocorrelation_support, half_box

FRAMES = [(32, 32), (33, 40), (40, 33), (21, 19), (16, 17)]


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_the_half_box_is_half_of_each_side_from_the_stated_start(frame: tuple[int, int]) -> None:
    support = half_box(frame)
    assert support.shape == frame
    for n, line in zip(frame, (support.any(1), support.any(0)), strict=True):
        inside = line.nonzero().flatten()
        start = (n - n // 2) // 2
        assert inside.tolist() == list(range(start, start + n // 2))
    assert int(support.sum()) == (frame[0] // 2) * (frame[1] // 2)


def pattern(frame: tuple[int, int], box: tuple[int, int], at: tuple[int, int] = (3, 5)) -> torch.Tensor:
    """Intensities of a bright box anywhere in the frame."""
    x = torch.zeros(frame)
    x[at[0] : at[0] + box[0], at[1] : at[1] + box[1]] = 1
    return torch.fft.fft2(x, norm="ortho").abs().square()


def sides(support: torch.Tensor) -> tuple[int, int]:
    return int(support.any(1).sum()), int(support.any(0).sum())


@pytest.mark.parametrize("box", [(12, 20), (40, 52), (31, 17)], ids=str)
def test_the_autocorrelation_support_holds_the_object_closely(box: tuple[int, int]) -> None:
    frame = (101, 128)
    support = autocorrelation_support(pattern(frame, box), torch.ones(frame, dtype=torch.bool))
    for found, true in zip(sides(support), box, strict=True):
        assert true <= found <= 1.1 * true + 2


def test_the_autocorrelation_support_is_a_centred_box() -> None:
    support = autocorrelation_support(pattern((101, 128), (12, 20)), torch.ones(101, 128, dtype=torch.bool))
    rows, columns = support.any(1), support.any(0)
    assert torch.equal(support, rows[:, None] & columns[None])
    for line in (rows, columns):
        inside = line.nonzero().flatten()
        assert abs(int(inside[0] + inside[-1]) - (len(line) - 1)) <= 1


def test_a_beamstop_does_not_tilt_the_autocorrelation_support() -> None:
    frame, box = (101, 128), (24, 30)
    measured = torch.ones(frame, dtype=torch.bool)
    measured[0, 0] = False
    intensity = pattern(frame, box) * measured
    for found, true in zip(sides(autocorrelation_support(intensity, measured)), box, strict=True):
        assert 0.8 * true <= found <= 1.3 * true


def test_a_pattern_that_is_not_oversampled_is_refused() -> None:
    with pytest.raises(InputError, match="oversampled at least twice"):
        autocorrelation_support(pattern((64, 64), (50, 40)), torch.ones(64, 64, dtype=torch.bool))


def test_more_frames_and_starts_need_more_memory() -> None:
    base = memory.needed_bytes((512, 512), 10)
    assert memory.needed_bytes((1024, 512), 10) == 2 * base
    assert memory.needed_bytes((512, 512), 20) > base
    assert memory.needed_bytes((512, 512), 10, workers=8) > base


def test_work_beyond_the_free_memory_is_refused_with_what_it_needs() -> None:
    cpu = torch.device("cpu")
    assert memory.free_bytes(cpu) > 0
    memory.check((64, 64), 10, cpu, 0.8)
    with pytest.raises(OutOfMemoryError, match=r"GiB.*1000000 x 1000000 px, 10 starts"):
        memory.check((1_000_000, 1_000_000), 10, cpu, 0.8)
