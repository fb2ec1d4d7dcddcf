"""Bytes a reconstruction needs, and whether they are free; the cores there are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from napari_i2ipr.errors import OutOfMemoryError

if TYPE_CHECKING:
    import torch

_FRAMES_PER_START = 1.5
"""float32 frames held per start: the iterate and its cropped estimate."""

_FRAMES_PER_WORKER = 8
"""float32 frames of one iteration: spectrum, intermediates and projected iterate."""

_FRAMES_SHARED = 12
"""float32 frames of the measurement, masks and both constraint sets."""

_FRAMES_REFINED = 56
"""float32 frames that the network's maps of one member take at most, measured with the shipped weights."""


def needed_bytes(frame_shape: tuple[int, int], n_starts: int, workers: int = 2, *, refined: bool = False) -> int:
    """Estimate of the bytes that one measurement takes on the device: solvers first, then the network."""
    frames = _FRAMES_PER_START * n_starts + _FRAMES_PER_WORKER * workers + _FRAMES_SHARED
    frames = max(frames, _FRAMES_REFINED) if refined else frames
    return int(4 * frames * frame_shape[0] * frame_shape[1])


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_bytes(device: torch.device) -> int:
    """Bytes free on a device, or on the host."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def check(
    frame_shape: tuple[int, int], n_starts: int, device: torch.device, fraction: float, *, refined: bool = False
) -> None:
    """Refuse work that needs more than `fraction` of the free memory.

    Raises
    ------
    OutOfMemoryError
        With what is needed and what is free.
    """
    needed, free = needed_bytes(frame_shape, n_starts, refined=refined), free_bytes(device)
    if needed > fraction * free:
        raise OutOfMemoryError(
            f"work of {needed / 2**30:.1f} GiB ({frame_shape[0]} x {frame_shape[1]} px, {n_starts} starts)",
            expected=f"at most {fraction * free / 2**30:.1f} GiB ({fraction:.0%} of what is free)",
            do="crop or bin the pattern, or lower n_starts",
        )
