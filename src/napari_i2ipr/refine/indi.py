"""Settings of the sampler: how the refinement walks from the candidates to the image."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """Which sampler, and its steps."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    sampler: Literal["evolving", "indi"] = Field(
        "evolving", description="Replicas that evolve on the network's own outputs, or the paper's InDI steps."
    )
    steps: int = Field(4, ge=1, le=64, description="Network evaluations T of a member.")
    last: float = Field(0.0, ge=0, le=1, description="Time of the last step; 0: 1/T, as in the paper.")


def times(steps: int, last: float = 0.0) -> tuple[float, ...]:
    """Times of T steps, evenly from 1 to `last`; 0 is the paper's ``T/T, (T-1)/T ... 1/T``.

    More steps than a network was trained for help it, times below those that it was trained at do not
    (Kaya & Oktem, arXiv 2507.09609, section 3, for the paper's).
    """
    if last == 0 or steps == 1:
        return tuple((steps - i) / steps for i in range(steps))
    return tuple(1 - (1 - last) * i / (steps - 1) for i in range(steps))
