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


def times(steps: int) -> tuple[float, ...]:
    """``T/T, (T-1)/T ... 1/T``, the times of T steps (Kaya & Oktem, arXiv 2507.09609, section 3)."""
    return tuple((steps - i) / steps for i in range(steps))
