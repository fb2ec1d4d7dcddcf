"""The device to compute on, by its name."""

from __future__ import annotations

import torch

from napari_i2ipr.errors import InputError


def device_named(name: str) -> torch.device:
    """The device of a name; ``"auto"`` is the GPU where there is one.

    Raises
    ------
    InputError
        If this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the device {name!r} ({str(error).splitlines()[0]})", expected="a device of this machine", do='use "cpu"'
        ) from None
    return device
