"""What is asked for: source, target and settings, opened and checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_i2ipr.batch import cluster, estimate, fingerprint
from napari_i2ipr.batch.plan import Plan, block_of, images_of, make_plan, most_frames
from napari_i2ipr.batch.source import MOST_LEADING, Source, open_source
from napari_i2ipr.batch.units import Layout
from napari_i2ipr.data import Measurement
from napari_i2ipr.errors import ConfigError, InputError
from napari_i2ipr.prepare import condition
from napari_i2ipr.refinement import weights_used

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from napari_i2ipr.batch.resume import State
    from napari_i2ipr.config import Config

PREPARE = ("amplitude", "center", "invert_mask", "allow_masked", "fft_order")
"""Options of `condition` that a batch passes on to every pattern."""

REMOTE_WORKERS = 8
"""Workers that a cluster of unknown size is planned for."""


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for.

    Attributes
    ----------
    source : Source
        The patterns.
    target : Path
        Final name of the result.
    config, device, prepare
        How they are reconstructed.
    frame_shape : tuple of int
        Shape of a prepared pattern.
    identity : dict
        Fingerprints of source, settings and weights.
    weights : dict or None
        Name and hash of the weights.
    scheduler : str, distributed.Client or None
        Where the work is done.
    memory : int or None
        Bytes that may be held on this machine.
    unit : int or None
        Frames of a unit at most.
    """

    source: Source
    target: Path
    config: Config
    device: str
    prepare: dict[str, Any]
    frame_shape: tuple[int, int]
    identity: dict[str, Any]
    weights: dict[str, str] | None
    scheduler: Any
    memory: int | None
    unit: int | None

    @property
    def local(self) -> bool:
        """Whether all workers are on this machine."""
        return self.scheduler is None or str(self.scheduler).startswith("local:")

    def layout(self) -> Layout:
        """The layout of the work in one process of this machine; of a worker elsewhere the CPU stands for it."""
        config = cluster.spread(self.config, cluster.workers_of(self.scheduler))
        return Layout(config, self.device if self.local else "cpu")

    def planned(self, state: State | None, layout: Layout) -> Planned:
        """The plan, as it was begun or a new one, within the memory of one process.

        Raises
        ------
        OutOfMemoryError
            When not even one frame fits.
        """
        plan = make_plan(self.source, self.config, self.frame_shape, 1) if state is None else state.plan
        sizes = estimate.Sizes.of(self.source, plan, self.config, layout)
        limit = estimate.host_limit(self.memory, self.config.compute.memory_fraction)
        workers = cluster.workers_of(self.scheduler)
        if self.scheduler is not None:
            limit = (limit - estimate.resident_bytes()) // workers
        spread = workers if self.local else REMOTE_WORKERS
        most = self.unit or most_frames(self.source.n_frames, spread)
        if state is not None:
            most = plan.unit_frames
        frames, ahead = estimate.unit_size(sizes, most, limit, fixed=state is not None)
        if state is None:
            plan = replace(plan, block=block_of(plan.lead, self.source.chunk, frames))
        return Planned(plan, ahead, sizes, limit)


@dataclass(frozen=True)
class Planned:
    """A plan and what it needs in one process: units read ahead, sizes, and the limit in bytes."""

    plan: Plan
    ahead: int
    sizes: estimate.Sizes
    limit: int


def asked(
    source: Any,
    target: str | os.PathLike[str],
    config: Config,
    *,
    scheduler: Any = None,
    device: str = "auto",
    axes: Sequence[str] | str | None = None,
    mask: Any = None,
    support: Any = None,
    prepare: Mapping[str, Any] | None = None,
    memory: int | str | None = None,
    unit: int | None = None,
) -> Request:
    """Open the source and take the fingerprints; parameters and errors as for `reconstruct_batch`."""
    place = Path(target)
    if place.suffix.lower() != ".zarr":
        raise InputError(f"the target {place}", expected="a name that ends in .zarr", do="change the ending")
    said = {key: value for key, value in (prepare or {}).items() if value is not None}
    options = {key: value for key, value in said.items() if value is not False or key == "amplitude"}
    unknown = set(options) - set(PREPARE)
    if unknown:
        raise ConfigError(f"the options {sorted(unknown)}", expected=f"some of {', '.join(PREPARE)}")
    if unit is not None and unit < 1:
        raise ConfigError(f"units of {unit} patterns", expected="at least 1")
    cluster.workers_of(scheduler)
    weights = weights_used(config)
    if isinstance(support, str) and support in ("half", "auto"):
        config, support, given = config.replace(support=support), None, False
    else:
        given = True
    most = MOST_LEADING - any(image.candidates for image in images_of(config))
    opened = open_source(source, axes=axes, mask=mask, support=support, flat_beyond=most)
    if not given:
        opened = replace(opened, support=None)
    _require_apart(place, opened)
    return Request(
        source=opened,
        target=place.absolute(),
        config=config,
        device=device,
        prepare=options,
        frame_shape=_prepared_shape(opened.frame_shape, options.get("center")),
        identity={
            "source": fingerprint.of_source(opened),
            "settings": fingerprint.of_settings(config, options),
            "weights": weights["sha256"] if weights else None,
        },
        weights=weights,
        scheduler=scheduler,
        memory=estimate.parse_memory(memory),
        unit=unit,
    )


def _require_apart(target: Path, source: Source) -> None:
    """Refuse a target that is the source."""
    for file in source.files:
        if target.exists() and file.exists() and target.samefile(file):
            raise InputError(f"{target} as source and as target", expected="two names", do="choose another target")


def _prepared_shape(stored: tuple[int, int], center: tuple[float, float] | None) -> tuple[int, int]:
    """Shape of a pattern once it is cropped around a centre."""
    if center is None:
        return stored
    ramp = np.arange(1, stored[0] * stored[1] + 1, dtype=np.float32).reshape(stored)
    ready, _ = condition(Measurement(ramp), center=center, amplitude=False)
    return ready.frame_shape
