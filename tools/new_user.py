# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""As a new user: start the installed program, open a sample, reconstruct, get two layers.

``tox run -e new-user`` builds the wheel, installs it with ``[all]`` into an environment that holds nothing else, and
runs this file there, in an empty folder and without the source tree on the path. The installed command ``i2ipr
napari`` is started as it is; menus and the button are clicked from its event loop. Pictures and a record with times
go into ``--output``. The exit code is 0 only if everything was as it should be.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import runpy
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PLUGIN = "napari-i2ipr"
MENU = "I2I-PR Phase Retrieval"
SAMPLE = "Cell (simulated pattern)"
SOURCE = "cell pattern"
SHAPE = (256, 256)
PIXEL_NM = 1.0 / (512 * 55e-6)
"""Of the object in the sample: 1 nm times 1 m over 512 detector pixels of 55 um."""

PSNR_DB = 25.0
"""What the picture must reach against the sample's truth, which no reconstruction sees."""

WINDOW = (1280, 800)
POLL_MS = 50
PATIENCE_S = 600
Step = Callable[[], bool]


class Visit:
    """One session in front of the window.

    Parameters
    ----------
    output : Path
        Where pictures and record go.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.record: dict[str, Any] = {}
        self.failure = ""
        self._started = time.monotonic()

    def begin(self) -> None:
        """Called in the event loop's first moment: go through the steps one by one."""
        from qtpy.QtCore import QTimer

        self.note("window open")
        self._steps = self.steps()
        self._until: Step = lambda: True
        self._limit = time.monotonic() + PATIENCE_S
        self._timer = QTimer()
        self._timer.timeout.connect(self._on_timer)
        self._timer.start(POLL_MS)

    def _on_timer(self) -> None:
        try:
            self._go_on()
        except StopIteration:
            self._end()
        except Exception:  # noqa: BLE001 - reported by the exit code and in the record
            self.failure = traceback.format_exc()
            self._end()

    def _go_on(self) -> None:
        if self._until():
            self._until = next(self._steps)
            self._limit = time.monotonic() + PATIENCE_S
        elif time.monotonic() > self._limit:
            raise TimeoutError(f"waited {PATIENCE_S} s")

    def _end(self) -> None:
        import napari

        self._timer.stop()
        viewer = napari.current_viewer()
        if viewer is not None:
            viewer.close()

    def note(self, what: str) -> None:
        """Remember when something was reached, in seconds since the start."""
        seconds = round(time.monotonic() - self._started, 1)
        self.record.setdefault("seconds", {})[what] = seconds
        print(f"{seconds:6.1f} s  {what}", flush=True)

    def steps(self) -> Iterator[Step]:
        """What a new user does; each step waits for what it yields."""
        import napari
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        viewer: Any = napari.current_viewer()
        viewer.window.set_geometry(0, 0, *WINDOW)
        yield pause(1)
        click_menu(viewer, "File", "Open Sample", MENU, SAMPLE)
        yield lambda: len(viewer.layers) == 2
        self.note("sample open")
        yield pause(1)
        self.shoot(viewer, "1-sample")
        click_menu(viewer, "Plugins", MENU, "Reconstruct")
        yield lambda: bool(viewer.window.dock_widgets)
        (widget,) = viewer.window.dock_widgets.values()
        self.note("Reconstruct open")
        yield pause(2)
        self.shoot(viewer, "2-reconstruct")
        QTest.mouseClick(widget.panel.run_button, Qt.MouseButton.LeftButton)
        self.note("Run pressed")
        yield lambda: widget.runner.status.running
        yield lambda: not widget.runner.status.running
        self.note("run ended")
        self.record["said"] = widget.panel.message.text()
        yield pause(2)
        self.shoot(viewer, "3-result")
        self.record["layers"] = check_layers(viewer)
        self.note("layers checked")

    def shoot(self, viewer: Any, name: str) -> None:
        """Take a picture of the window."""
        viewer.screenshot(str(self.output / f"{name}.png"), canvas_only=False, flash=False)


def pause(seconds: float) -> Step:
    """A step that just waits."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def click_menu(viewer: Any, *titles: str) -> None:
    """Follow menus from the menu bar by their titles, and trigger the last one."""
    menu: Any = viewer.window.main_menu
    *menus, last = titles
    for title in menus:
        menu = entry(menu, title).menu()
        menu.aboutToShow.emit()  # some are filled when they open
    entry(menu, last).trigger()


def entry(menu: Any, title: str) -> Any:
    """An entry of a menu by its title, after which napari may say whose it is."""
    entries = {action.text().replace("&", ""): action for action in menu.actions()}
    for said, action in entries.items():
        if title in {said, said.removesuffix(f" ({MENU})")}:
            return action
    raise LookupError(f"got the entries {', '.join(entries)}; expected {title}")


def check_layers(viewer: Any) -> list[dict[str, Any]]:
    """Hold the layers against what must have come; their description.

    Raises
    ------
    AssertionError
        When anything is otherwise.
    """
    import numpy as np

    from napari_i2ipr.evaluate import evaluate

    shown = [layer for layer in viewer.layers if layer.visible]
    expect([layer.name for layer in shown], [f"#1 uncertainty ({SOURCE})", f"#1 reconstruction ({SOURCE})"])
    described = []
    for layer in shown:
        data = np.asarray(layer.data)
        expect(type(layer).__name__, "Image")
        expect((data.dtype.name, data.shape), ("float32", SHAPE))
        expect([str(unit) for unit in layer.units], ["nanometer", "nanometer"])
        expect(bool(np.allclose(layer.scale, PIXEL_NM)), True)
        expect(bool(np.isfinite(data).all()), True)
        row = {"name": layer.name, "nm_per_px": float(layer.scale[0]), "mean": float(data.mean())}
        described.append(row | {"least": float(data.min()), "most": float(data.max())})
    sigma, image = (np.asarray(layer.data) for layer in shown)
    expect(bool((sigma >= 0).all() and sigma.any() and image.any()), True)
    result = shown[1].metadata["napari_i2ipr"]["result"]
    scores = evaluate(result, np.asarray(viewer.layers["cell truth"].data))
    described[1]["psnr_db"] = float(scores["psnr"])
    expect(scores["psnr"] > PSNR_DB, True)
    return described


def expect(got: Any, wanted: Any) -> None:
    """Stop where something is not as it should be."""
    if got != wanted:
        raise AssertionError(f"got {got}; expected {wanted}")


def installed() -> dict[str, Any]:
    """Where the program comes from, which must be a wheel in this environment and nothing else.

    Raises
    ------
    AssertionError
        When any of it comes from elsewhere.
    """
    distribution = importlib.metadata.distribution(PLUGIN)
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    expect((origin.get("url", "").endswith(".whl"), "dir_info" in origin), (True, False))
    place = Path(sysconfig.get_path("purelib")).resolve()
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "napari_i2ipr"}
    files = {str(Path(module.__file__).resolve()) for module in modules.values() if module.__file__}
    outside = sorted(file for file in files if not Path(file).is_relative_to(place))
    expect((bool(files), outside), (True, []))
    names = (PLUGIN, "napari", "PyQt6", "torch", "numpy")
    return {
        "wheel": origin["url"].rpartition("/")[2],
        "modules_loaded": len(files),
        "versions": {name: importlib.metadata.version(name) for name in names},
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "processors": os.cpu_count(),
    }


def start(visit: Visit) -> None:
    """Start the installed command; the visit begins with its event loop."""
    import napari
    from qtpy.QtCore import QTimer

    run = napari.run

    def run_with_visit(*arguments: Any, **options: Any) -> None:
        QTimer.singleShot(0, visit.begin)
        run(*arguments, **options)

    napari.run = run_with_visit
    command = Path(sysconfig.get_path("scripts")) / "i2ipr"
    sys.argv = [str(command), "napari"]
    try:
        runpy.run_path(str(command), run_name="__main__")
    except SystemExit as end:
        if end.code:
            visit.failure = visit.failure or f"i2ipr napari ended with {end.code}"


def main() -> int:
    """Make the visit and write its record."""
    parser = argparse.ArgumentParser(description="Use the installed program as a new user would, and record it.")
    parser.add_argument("--output", type=Path, default=Path("new-user"), help="folder for pictures and record")
    output = parser.parse_args().output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    visit = Visit(output)
    with tempfile.TemporaryDirectory() as folder:  # no settings of before
        os.environ |= {"NAPARI_CONFIG": f"{folder}/settings.yaml", "XDG_CACHE_HOME": folder}
        start(visit)
    try:
        visit.record |= installed()
    except AssertionError as error:
        visit.failure = visit.failure or f"not from the wheel: {error}"
    if not visit.failure and "layers" not in visit.record:
        visit.failure = "the window closed before the end"
    visit.record["failure"] = visit.failure
    text = json.dumps(visit.record, indent=2)
    (output / "record.json").write_text(text + "\n", encoding="utf-8")
    print(f"{text}\npictures and record: {output}")
    return 1 if visit.failure else 0


if __name__ == "__main__":
    sys.exit(main())
