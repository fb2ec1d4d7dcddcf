"""The job behind Average again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_i2ipr.config import Config
from napari_i2ipr.plugin.display import PLACE
from napari_i2ipr.plugin.layers import in_memory
from napari_i2ipr.plugin.state import Progress
from napari_i2ipr.plugin.worker import load_torch, spare_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.progress import Cancel, Event


@dataclass(frozen=True, eq=False)
class AverageTask:
    """An average of kept candidates, ready to be taken.

    Attributes
    ----------
    name : str
        Of what was reconstructed, for the user.
    result : Reconstruction
        With its candidate images.
    keep : dict
        Numbers of the kept candidates by number of the pattern.
    patterns : tuple of Measurement
        What it may have been made from; masks may be lazy.
    device : str
        Where to refine.
    """

    name: str
    result: Reconstruction
    keep: dict[int, list[int]]
    patterns: tuple[Measurement, ...] = ()
    device: str = "auto"

    def __str__(self) -> str:
        return f"average of {self.name}"

    def __call__(self, *, on_progress: Callable[[Progress], None], cancel: Cancel) -> Reconstruction:
        """Take it; imports torch, so never call it in the main thread."""
        on_progress(Progress("starting"))
        load_torch()
        from napari_i2ipr.reaverage import average_again

        result = self.result
        config = result.provenance.get("config", {})
        if config and Config.from_dict(config).compute.threads == 0:  # one core stays with the window
            spare = {**config, "compute": {**config.get("compute", {}), "threads": spare_one()}}
            result = replace(result, provenance={**result.provenance, "config": spare})

        def on_event(event: Event) -> None:
            on_progress(Progress(event.stage, event.done / max(event.total, 1)))

        found = average_again(
            result,
            self.keep,
            [in_memory(one) for one in self.patterns],
            device=self.device,
            on_event=on_event,
            cancel=cancel,
        )
        provenance = {key: value for key, value in found.provenance.items() if key != PLACE}
        return replace(found, provenance={**provenance, "config": config})
