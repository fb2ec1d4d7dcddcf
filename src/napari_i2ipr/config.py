"""Every setting and every default, once: YAML, command line and forms are generated from here."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.sections import Section as _Section
from napari_i2ipr.sections import merged as _merged
from napari_i2ipr.solvers.recipe import Schedule, parse_schedule, schedule_text, split, total_iterations, wrapped


def _as_text(value: Any) -> str:
    return schedule_text(parse_schedule(value))


def _as_text_or_empty(value: Any) -> str:
    return _as_text(value) if value else ""


ScheduleText = Annotated[str, BeforeValidator(_as_text)]
"""A schedule in text; lists of stages are accepted and turned into text."""


OptionalScheduleText = Annotated[str, BeforeValidator(_as_text_or_empty)]
"""A schedule in text, or nothing."""


def _known_preset(name: Any) -> str:
    if name not in (*PRESETS, "custom"):
        raise ConfigError(f"the preset {name!r}", expected="one of " + ", ".join(PRESETS))
    return str(name)


FREE_PHASE_DEG = 180.0
"""The limit of a phase that has none."""


class Initialisation(_Section):
    """Classical multi-start: many short runs, the best kept and run on."""

    n_starts: int = Field(50, ge=1, le=100_000, description="Random-phase starts of a candidate set.")
    short: ScheduleText = Field("HIO:40", description="Schedule of every start before the selection.")
    n_keep: int = Field(10, ge=1, le=1000, description="Starts kept after the short run.")
    long: ScheduleText = Field("HIO:180 ER:20", description="Schedule of the kept starts.")
    final: OptionalScheduleText = Field(
        "HIO:300 RAAR+avg:150 ER:50",
        description="Schedule of the kept starts after that, once scored and with the held-out pixels given back.",
    )
    inherit: float = Field(
        0.8, ge=0, le=1, description="Share of the candidates' blind mean in the starts of the final run."
    )
    ranking: Literal["free", "residual"] = Field(
        "free", description="Score that selects: misfit on held-out pixels, or the plain residual."
    )
    friedel: Literal["intensity", "amplitude"] = Field(
        "intensity", description="What is averaged over Friedel pairs of real objects."
    )
    relaxation: float = Field(
        2.0, ge=0, le=100, description="How far frequencies below the noise may leave the measurement; 1 is Wiener."
    )
    tolerance: float = Field(0.0, ge=0, lt=1, description="Stop a run at this residual chi; 0 runs all iterations.")

    @property
    def short_schedule(self) -> Schedule:
        """The short run as stages."""
        return parse_schedule(self.short)

    @property
    def long_schedule(self) -> Schedule:
        """The long run as stages."""
        return parse_schedule(self.long)

    @property
    def final_schedule(self) -> Schedule:
        """The final run as stages; none where it is empty."""
        return parse_schedule(self.final) if self.final else ()


class Alignment(_Section):
    """Blind orientation of the candidates to each other."""

    shifts: bool = Field(True, description="Search shifts as well as flips.")
    subpixel: bool = Field(True, description="Refine shifts below a pixel.")


class Aggregation(_Section):
    """How aligned candidates become one image."""

    weights: Literal["equal", "consistency"] = Field(
        "equal", description="Equal weights, or larger ones for candidates that fit the data better."
    )
    max_outside: float = Field(
        0.1, gt=0, le=1, description="Candidates with more of their energy outside the support are dropped."
    )
    max_residual_ratio: float = Field(
        2.0, ge=1, le=1000, description="Candidates that fit the data worse than the best by this factor are dropped."
    )
    min_twin_margin: float = Field(
        0.02, ge=0, lt=1, description="Candidates less decided than this between image and twin are dropped."
    )


class Refinement(_Section):
    """The learned refinement of real objects: InDI with data consistency."""

    enabled: bool = Field(True, description="Refine; off, the classical mean is the result.")
    weights: str = Field("default", min_length=1, description="Shipped weights by name, or a .safetensors file.")
    sampler: Literal["auto", "evolving", "indi"] = Field(
        "auto",
        description="The weights' own, replicas that evolve on the network's own outputs, or the paper's InDI steps.",
    )
    steps: int = Field(
        0, ge=0, le=64, description="Network evaluations of an ensemble member; 0 takes the weights' own."
    )
    views: int = Field(2, ge=1, le=8, description="Flips and quarter turns of each candidate set in the ensemble.")
    fallback: Literal["auto", "never"] = Field(
        "auto", description="Return the classical mean where the data are unlike those that were trained on."
    )


TOLD_OF_BLUR = 0.4
"""Last share of the long run that is told of the blur where there is no final one."""


class Coherence(_Section):
    """Partial coherence: the beam blurs the pattern, and stages with +pc compare with a blurred modulus."""

    blur_px: float = Field(
        0.0, ge=0, le=100, description="Standard deviation of the blur in detector pixels; 0 for a coherent beam."
    )
    lorentz: float = Field(0.0, ge=0, le=1, description="Share of a Lorentzian in the blur, the rest being Gaussian.")
    fit: bool = Field(
        False, description="Find the blur from the pattern first, beginning with blur_px (or half a pixel)."
    )

    @property
    def used(self) -> bool:
        """Whether the beam is taken as partially coherent."""
        return self.blur_px > 0 or self.fit

    def ended(self, long: Schedule, final: Schedule) -> tuple[Schedule, Schedule]:
        """The long and the final run, the latter (or the last part of the former) told of the blur by ``+pc``.

        The search does better without it. Schedules that hold a ``+pc`` stay as they are.
        """
        if not self.used or "+pc" in schedule_text(long + final):
            return long, final
        if final:
            return long, wrapped(final, "pc")
        head, tail = split(long, round((1 - TOLD_OF_BLUR) * total_iterations(long)))
        return head + wrapped(tail, "pc"), ()


class Compute(_Section):
    """How the work is laid out; changes nothing in the result."""

    threads: int = Field(0, ge=0, le=1024, description="CPU threads, an image each; 0 takes all cores.")
    batch: int = Field(
        0, ge=0, le=100_000, description="Starts iterated together; 0 takes one on a CPU, all of a pattern on a GPU."
    )
    memory_fraction: float = Field(0.8, gt=0, le=1, description="Share of the free memory that may be used.")


class Config(_Section):
    """All settings of a reconstruction; frozen, validated, unknown names refused.

    `Config.preset` gives a named set, `Config.from_yaml` and `Config.to_yaml` go to and from files.
    """

    preset: Annotated[str, AfterValidator(_known_preset)] = Field(
        "balanced", description="Name of the preset these settings came from."
    )
    object: Literal["real", "complex"] = Field("real", description="Kind of object.")
    nonnegative: bool = Field(True, description="Real objects: whether negative values are forbidden.")
    max_phase_deg: float = Field(
        FREE_PHASE_DEG,
        gt=0,
        le=FREE_PHASE_DEG,
        description="Complex objects: largest phase either side of 0 at the right global phase; 180 leaves it free, "
        "90 keeps the real part positive.",
    )
    support: Literal["half", "auto"] = Field(
        "half", description="Support where the measurement holds none: centred half box, or from the autocorrelation."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Fixes every random number.")
    members: int = Field(1, ge=1, le=1000, description="Independent candidate sets.")
    initialisation: Initialisation = Initialisation()
    alignment: Alignment = Alignment()
    aggregation: Aggregation = Aggregation()
    refine: Refinement = Refinement()
    coherence: Coherence = Coherence()
    compute: Compute = Compute()
    keep_candidates: bool = Field(False, description="Return the aligned candidates too.")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        """What is not given comes from the named preset, however the configuration is made."""
        if not isinstance(values, dict):
            return values
        return _merged(PRESETS.get(_known_preset(values.get("preset", DEFAULT_PRESET)), {}), values)

    @property
    def refines(self) -> bool:
        """Whether the learned half has its say: it knows real objects in a coherent beam only."""
        return self.refine.enabled and self.object == "real" and not self.coherence.used

    def problem_options(self) -> dict[str, Any]:
        """What `Problem.build` is told of the object and the beam."""
        return {
            "real": self.object == "real",
            "nonnegative": self.nonnegative,
            "friedel": self.initialisation.friedel == "intensity",
            "max_phase": math.radians(self.max_phase_deg) if self.max_phase_deg < FREE_PHASE_DEG else None,
            "blur_px": self.coherence.blur_px,
            "lorentz": self.coherence.lorentz,
        }

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Config:
        """The named preset, with top-level fields changed.

        Raises
        ------
        ConfigError
            When the name or a field is unknown or out of range.
        """
        _known_preset(name)
        return cls.from_dict({"preset": name, **changes})

    def replace(self, **changes: Any) -> Self:
        """A copy with fields changed; sections may be given as dicts of the fields that change.

        The name of another preset brings its settings in place of all the present ones.
        """
        if changes.get("preset", self.preset) != self.preset:
            return self.from_dict(changes)
        return super().replace(**changes)


DEFAULT_PRESET = "balanced"
"""Preset of a configuration that names none."""

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "initialisation": {
            "n_starts": 12,
            "short": "HIO:50",
            "n_keep": 10,
            "long": "HIO:700 ER+acc:300 HIO:700 ER+acc:77",
            "final": "",
            "relaxation": 0.0,
            "ranking": "residual",
            "friedel": "amplitude",
        }
    },
    "fast": {
        "initialisation": {
            "n_starts": 16,
            "n_keep": 4,
            "long": "HIO:90 ER:10",
            "final": "HIO:100 RAAR+avg:60 ER:40",
        }
    },
    "balanced": {},
    "best": {"members": 6, "initialisation": {"n_starts": 30, "n_keep": 5}},
}
"""Named sets of settings; `balanced` is the default. Chosen in ``benchmarks/quality``."""
