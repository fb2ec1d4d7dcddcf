"""What the training makes small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

EACH = 0.25
"""Weight of the replicas' own errors beside that of their mean."""

LIKELIHOOD = 0.05
"""Weight of the expected squared error's likelihood."""

FLOOR = 1e-5
"""Squared errors below this, in images of mean square one, are perfect: 50 dB."""


def loss(images: Tensor, log_variance: Tensor, truth: Tensor) -> Tensor:
    """Mean over images of the logarithm of the squared error (PSNR up to a factor), and a likelihood.

    Parameters
    ----------
    images : Tensor
        Restored replicas ``(B, R, h, w)``.
    log_variance : Tensor
        Logarithm of the expected squared error of their mean, ``(B, 1, h, w)``.
    truth : Tensor
        ``(B, h, w)``.
    """
    truth = truth[:, None]
    error = images.mean(1, keepdim=True) - truth
    of_mean = (error.square().mean((-3, -2, -1)) + FLOOR).log().mean()
    of_each = ((images - truth).square().mean((-3, -2, -1)) + FLOOR).log().mean()
    log_variance = log_variance.clamp(-14, 4)
    likelihood = 0.5 * (log_variance + error.detach().square() * torch.exp(-log_variance)).mean()
    return of_mean + EACH * of_each + LIKELIHOOD * likelihood
