"""Everything that decides a training: data, network, stages, validation. YAML files in ``recipes/``."""

from __future__ import annotations

import hashlib
import json
import zlib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_i2ipr.errors import ConfigError
from napari_i2ipr.refine.networks import NetworkSpec


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the settings."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:8]


class SetsSpec(_Section):
    """Candidate sets made with the shipped initialisation."""

    count: int = Field(ge=1, description="How many.")
    size: int = Field(128, ge=32, le=1024, description="Side of the objects in pixels.")
    preset: str = Field("balanced", description="Preset of the initialisation.")
    alpha: tuple[float, float] = Field((1.0, 8.0), description="Noise levels, log-uniform between these.")
    shares: tuple[float, float, float] = Field(
        (0.7, 0.12, 0.18), description="Shares of pictures, isolated objects and dead leaves."
    )

    @property
    def label(self) -> str:
        """Name of the cached files: they depend on all but the count."""
        return f"{self.preset}-{self.size}-{self.model_copy(update={'count': 1}).fingerprint()}"

    @property
    def stream(self) -> int:
        """Number of the random stream."""
        return zlib.crc32(self.label.encode())


class Stage(_Section):
    """A part of the training with its own data, length and rate."""

    data: Literal["synthetic", "sets"] = Field(description="Candidates made up from the truth, or real ones.")
    batches: int = Field(ge=1, description="Batches; each gives a step of the optimiser per step of the sampler.")
    batch: int = Field(8, ge=1, description="Sets in a batch.")
    size: int = Field(128, ge=32, description="Side of synthetic objects in pixels.")
    rate: float = Field(5e-4, gt=0, lt=1, description="Highest learning rate; cosine to a fiftieth.")
    horizon: int = Field(0, ge=0, description="Batches after which the cosine ends; 0: the stage's.")
    steps: int = Field(4, ge=1, description="Steps of the sampler that are trained on its own states.")


class Recipe(_Section):
    """A training from pictures to weights."""

    name: str
    seed: int = Field(0, ge=0)
    sources: tuple[str, ...] = Field(description="Tars or folders of pictures below the data folder.")
    network: NetworkSpec = NetworkSpec()
    sets: tuple[SetsSpec, ...] = ()
    start: str = Field("", description="Weights to start from, shipped or a file; random ones if empty.")
    stages: tuple[Stage, ...] = Field(min_length=1)
    sampling_steps: int = Field(0, ge=0, le=64, description="Steps T the weights are for; 0: those of the last stage.")
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the averaged weights.")
    clip: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    threads: int = Field(0, ge=0, le=1024, description="Threads on a CPU; 0 takes all cores.")
    bfloat16: bool = Field(True, description="Convolutions in bfloat16 where the processor has it.")
    checkpoint: int = Field(100, ge=1, description="Batches from one checkpoint and validation to the next.")
    validation: SetsSpec = Field(description="Sets of the validation images, looked at with every checkpoint.")
    calibration: tuple[SetsSpec, ...] = Field(
        (),
        description="Sets of the validation images for the calibration, each size by itself: the uncertainty is fitted "
        "to the first of a size, the limit of the check against the data to all.",
    )

    @classmethod
    def load(cls, name: str | Path) -> Recipe:
        """A recipe from a YAML file, or one of the built-in ones by its name.

        Raises
        ------
        ConfigError
            When there is no such recipe, or it does not hold what a recipe holds.
        """
        path = Path(name)
        if path.suffix in (".yaml", ".yml"):
            if not path.is_file():
                raise ConfigError(f"no recipe {path}", expected="a YAML file or one of " + ", ".join(built_in()))
            text = path.read_bytes()
        elif str(name) in built_in():
            text = resources.files("napari_i2ipr.train").joinpath("recipes", f"{name}.yaml").read_bytes()
        else:
            raise ConfigError(f"the recipe {str(name)!r}", expected="a YAML file or one of " + ", ".join(built_in()))
        try:
            values: Any = yaml.safe_load(text)
            return cls.model_validate(values)
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}, which is not YAML ({str(error).splitlines()[0]})", do="check it") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "all"
            raise ConfigError(f"{where} = {first.get('input')!r} in the recipe: {first['msg']}") from None


def built_in() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    files = resources.files("napari_i2ipr.train").joinpath("recipes").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))
