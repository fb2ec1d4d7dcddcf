"""Pictures of every widget at work, for the README and the documentation.

``tox run -e screenshots`` takes all of them in a virtual screen and writes them to ``docs/images``; with names
after ``--``, the scenes of these names only. Samples are simulated and seeds fixed, so that the results in the
pictures come again. A widget of the manifest that has no scene here is an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = "napari-i2ipr"
WINDOW = (1280, 800)
COLOURS = 256
PATIENCE_S = 900
IMAGES = Path(__file__).resolve().parent / "images"


class Stage:
    """One viewer at a time, and the camera.

    Parameters
    ----------
    folder : Path
        Where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken: list[str] = []
        self.viewer: Any = None

    def open(self, sample: str | None = None) -> Any:
        """A new viewer of the size of a small screen, with one of the samples in it."""
        import napari

        self.close()
        self.viewer = napari.Viewer()
        self.viewer.window.set_geometry(0, 0, *WINDOW)
        if sample is not None:
            self.viewer.open_sample(PLUGIN, sample)
        self.rest(1)
        return self.viewer

    def close(self) -> None:
        """Close the viewer, if there is one."""
        if self.viewer is not None:
            self.viewer.close()
            self.rest(0.2)
        self.viewer = None

    def widget(self, name: str) -> Any:
        """A widget of the plugin beside the canvas, instead of what was there."""
        for dock in list(self.viewer.window.dock_widgets):
            self.viewer.window.remove_dock_widget(self.viewer.window.dock_widgets[dock])
        _, widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, name)
        self.rest(1)
        return widget

    def rest(self, seconds: float) -> None:
        """Let the window work."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def wait(self, until: Callable[[], bool], what: str) -> None:
        """Let the window work until something is true.

        Raises
        ------
        TimeoutError
            When it does not become true.
        """
        end = time.monotonic() + PATIENCE_S
        while not until():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {PATIENCE_S} s for {what}")
            self.rest(0.05)

    def finish(self, widget: Any) -> None:
        """Wait for the end of a widget's job, which must be a good one."""
        self.wait(lambda: not widget.runner.status.running, "the end of the job")
        if widget.runner.status.state.name != "DONE":
            raise RuntimeError(f"the job ended otherwise: {widget.runner.status.message}")
        self.rest(1.5)

    def shoot(self, name: str, window: Any = None) -> None:
        """Take a picture of the viewer, or of one widget or dialog."""
        self.rest(0.5)
        if window is None:
            self.save(name, self.viewer.screenshot(canvas_only=False, flash=False))
        else:
            from qtpy.QtCore import QBuffer, QIODevice

            buffer = QBuffer()
            buffer.open(QIODevice.OpenModeFlag.WriteOnly)
            window.grab().save(buffer, "PNG")
            self.save(name, bytes(buffer.data()))

    def save(self, name: str, picture: Any) -> None:
        """Write a picture, an array or a PNG, with few colours, which makes the file a third as large."""
        import io

        from PIL import Image

        image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else Image.fromarray(picture)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.png"
        few = image.convert("RGB").quantize(
            COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=5, dither=Image.Dither.NONE
        )
        few.save(path, optimize=True)
        self.taken.append(path.name)
        print(f"{path.name}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB", flush=True)


# -- scenes: one for each widget, by its name in the manifest -----------------------------------------------


def reconstruct(stage: Stage) -> None:
    """The sample of the quick start: opened, running, done; then the settings that are folded away."""
    from qtpy.QtWidgets import QScrollArea

    stage.open("cell")
    stage.shoot("sample")
    widget = stage.widget("Reconstruct")
    stage.rest(1.5)
    stage.shoot("reconstruct-opened")
    widget.settings.advanced.expand(animate=False)
    stage.rest(0.5)
    area = widget.findChild(QScrollArea)
    area.verticalScrollBar().setValue(widget.settings.advanced.y())
    stage.shoot("reconstruct-advanced", widget)
    widget.settings.advanced.collapse(animate=False)
    widget.panel.run_button.click()
    status = widget.runner.status
    stage.wait(lambda: status.progress.fraction > 0.6 or not status.running, "the middle of the run")
    stage.shoot("reconstruct-running")
    stage.finish(widget)
    stage.shoot("reconstruct")


def inspect(stage: Stage) -> None:
    """What is known of such a result: verdict, candidates, curves."""
    stage.open("cell")
    widget = stage.widget("Reconstruct")
    widget.settings["keep_candidates"].widget.value = True
    widget.panel.run_button.click()
    stage.finish(widget)
    widget = stage.widget("Inspect")
    stage.shoot("inspect-verdict")
    widget.pages.setCurrentWidget(widget.candidates_page)
    widget.candidates_page.table.selectRow(1)
    stage.rest(0.5)
    stage.shoot("inspect-candidates")
    widget.candidates_page.table.clearSelection()
    widget.pages.setCurrentWidget(widget.curves_page)
    stage.rest(0.5)
    stage.shoot("inspect-curves")


def prepare(stage: Stage) -> None:
    """A pattern behind a beamstop: its centre found, and prepared."""
    stage.open("beamstop")
    widget = stage.widget("Prepare diffraction data")
    _settled(stage, widget)
    widget.panel.find_button.click()
    stage.finish(widget)
    _settled(stage, widget)
    stage.shoot("prepare")
    widget.panel.run_button.click()
    stage.finish(widget)
    _settled(stage, widget)
    stage.shoot("prepared")


def _settled(stage: Stage, widget: Any) -> None:
    stage.wait(lambda: not widget.summary.stale and not widget.looker.status.running, "the summary")


def simulate(stage: Stage) -> None:
    """A photograph becomes a pattern."""
    from skimage.data import camera

    stage.open().add_image(camera(), name="camera")
    widget = stage.widget("Simulate")
    widget.fit.value = "resize"
    widget.fields["beamstop_px"].value = 4
    stage.rest(0.5)
    stage.shoot("simulate-opened")
    widget.panel.run_button.click()
    stage.finish(widget)
    stage.shoot("simulate")


def batch(stage: Stage) -> None:
    """A pattern and a stack of them, one after the other, into stores in a folder that goes afterwards."""
    import dataclasses

    import numpy as np

    from napari_i2ipr import Geometry, simulate, write
    from napari_i2ipr.phantoms import cell

    geometry = Geometry(wavelength_m=1e-9, distance_m=1.0, pixel_size_m=(55e-6, 55e-6))
    cells = np.stack([cell(128, seed=seed) for seed in range(12)])
    with tempfile.TemporaryDirectory() as folder:
        volume = dataclasses.replace(simulate(cells, photons=1e8), geometry=geometry, axes=("frame", "y", "x"))
        write(volume, f"{folder}/scan.zarr")
        write(dataclasses.replace(simulate(cells[0], photons=1e8, seed=1), geometry=geometry), f"{folder}/single.cxi")
        stage.open()
        widget = stage.widget("Batch")
        widget.settings.preset.value = "fast"
        widget.add([f"{folder}/single.cxi", f"{folder}/scan.zarr"])
        stage.wait(lambda: not widget.errands.busy, "the look at the sources")
        widget.panel.plan_button.click()
        stage.finish(widget)
        widget.panel.run_button.click()
        last = widget.list.queue.items[-1]
        stage.wait(lambda: last.status.done >= 6 or not widget.runner.status.running, "the middle of the run")
        stage.shoot("batch-running")
        stage.finish(widget)
        stage.shoot("batch")
        stage.close()


def preferences(stage: Stage) -> None:
    """Our page of napari's Preferences."""
    from napari._app_model import get_app_model
    from qtpy.QtWidgets import QApplication, QListWidget

    stage.open()
    get_app_model().commands.execute_command("napari.window.file.show_preferences_dialog").result()
    stage.rest(1)
    dialog = next(one for one in QApplication.topLevelWidgets() if one.windowTitle() == "Preferences")
    pages = dialog.findChild(QListWidget, "Preferences")
    (row,) = [row for row in range(pages.count()) if pages.item(row).text() == "I2I-PR Phase Retrieval"]
    pages.setCurrentRow(row)
    stage.rest(0.5)
    stage.shoot("preferences", dialog)
    dialog.close()


class Scene(NamedTuple):
    """What is played, and the pictures that it leaves."""

    play: Callable[[Stage], None]
    pictures: tuple[str, ...]


PREFERENCES = "Preferences"
RECONSTRUCT = ("sample", "reconstruct-opened", "reconstruct-advanced", "reconstruct-running", "reconstruct")

SCENES = {
    "Reconstruct": Scene(reconstruct, RECONSTRUCT),
    "Inspect": Scene(inspect, ("inspect-verdict", "inspect-candidates", "inspect-curves")),
    "Prepare diffraction data": Scene(prepare, ("prepare", "prepared")),
    "Batch": Scene(batch, ("batch-running", "batch")),
    "Simulate": Scene(simulate, ("simulate-opened", "simulate")),
    PREFERENCES: Scene(preferences, ("preferences",)),
}
"""Scenes by the name of the widget; those of widgets that the manifest does not have are left out."""


def widgets() -> list[str]:
    """Names of the plugin's widgets, as its manifest has them."""
    from npe2 import PluginManifest

    found = PluginManifest.from_distribution(PLUGIN).contributions.widgets
    return [widget.display_name for widget in found or ()]


def main(arguments: list[str] | None = None) -> int:
    """Play the scenes that are asked for, or all of them."""
    parser = argparse.ArgumentParser(description="Take the pictures of the README and the documentation.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(SCENES)} (default: all)")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder of the pictures (default: docs/images)")
    asked = parser.parse_args(arguments)
    there = [*widgets(), PREFERENCES]
    unknown = [name for name in asked.names if name not in SCENES]
    missing = [name for name in there if name not in SCENES]
    if unknown or missing:
        print(f"no scene for {', '.join(unknown or missing)}: add it to SCENES in docs/screenshots.py")
        return 2
    with tempfile.TemporaryDirectory() as folder:  # the user's own settings and speeds stay out of the pictures
        os.environ |= {"NAPARI_CONFIG": f"{folder}/settings.yaml", "XDG_CACHE_HOME": folder}
        stage = Stage(asked.output)
        for name in asked.names or [name for name in SCENES if name in there]:
            started, before = time.monotonic(), len(stage.taken)
            SCENES[name].play(stage)
            lacking = {f"{picture}.png" for picture in SCENES[name].pictures} - set(stage.taken[before:])
            if lacking:
                print(f"{name} did not take {', '.join(sorted(lacking))}")
                return 1
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        stage.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
