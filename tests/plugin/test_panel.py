"""What a run says of itself, and what is seen of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from napari_i2ipr.config import Config
from napari_i2ipr.data import Measurement
from napari_i2ipr.plugin.live import ErrorCurve, Picture, ticks
from napari_i2ipr.plugin.panel import STAGES, RunPanel, in_words, whole_in_words
from napari_i2ipr.plugin.state import Point, Progress, RunState, RunStatus, Trace


def test_in_words() -> None:
    assert in_words(Progress("short run")) == "trying random starts"
    assert in_words(Progress("a new stage")) == "a new stage"
    assert in_words(Progress("refine", members=3)) == "refining with the trained network"
    assert in_words(Progress("long run", member=1, members=3)) == "set 2 of 3 · following the best starts"


def test_the_whole_run_in_words() -> None:
    assert whole_in_words(Progress()) == "%p %"
    said = whole_in_words(Progress("long run", 0.5, None, 72.2, frame=2, frames=16))
    assert said == "pattern 3 of 16 · %p % · about 72 s left"


@pytest.mark.usefixtures("tiny")
def test_every_stage_of_the_engine_has_words(measurement: Measurement) -> None:
    from napari_i2ipr.pipeline import reconstruct

    seen: list[str] = []
    config = Config.from_preset("fast", compute={"threads": 1}, initialisation={"final": "ER:5"})
    reconstruct(measurement, config, device="cpu", on_event=lambda event: seen.append(event.stage))
    assert len(set(seen)) == 6
    assert set(seen) <= set(STAGES)


def test_panel_follows_the_status(qtbot: QtBot) -> None:
    status = RunStatus()
    panel = RunPanel(status)
    qtbot.addWidget(panel)
    panel.set_ready(ready=False)
    assert not panel.run_button.isEnabled()
    panel.set_ready(ready=True)
    assert panel.run_button.isEnabled()
    assert not panel.live.isVisibleTo(panel)
    status.state = RunState.RUNNING
    trace = Trace()
    trace.add(Point(0.1, 0.5, "short run"))
    status.progress = Progress("align", 0.25, stage_fraction=0.5, trace=trace, image=np.zeros((4, 4), np.uint8))
    assert (panel.run_button.isEnabled(), panel.cancel_button.isEnabled()) == (False, True)
    assert (panel.bar.text(), panel.stage_bar.text()) == ("25 %", "50 %")
    assert panel.live.isVisibleTo(panel)
    assert panel.live.curve.points == trace.points
    status.progress = replace(status.progress, score=0.1234)
    assert panel.stage_bar.text() == "50 % · misfit 0.123"
    status.state, status.message = RunState.CRASHED, "It failed."
    assert (panel.run_button.isEnabled(), panel.cancel_button.isEnabled()) == (True, False)
    assert not panel.stage_bar.isVisibleTo(panel)
    assert panel.message.text() == "It failed."


def rendered(widget: ErrorCurve | Picture, qtbot: QtBot) -> np.ndarray:
    """The pixels of a widget, ``(h, w, 4)``."""
    image = widget.grab().toImage().convertToFormat(widget.grab().toImage().Format.Format_RGBA8888)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes()) if hasattr(bits, "setsize") else None
    rows = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 4 * image.width()].reshape(image.height(), image.width(), 4).copy()


def test_the_curve_shows_its_points(qtbot: QtBot) -> None:
    curve = ErrorCurve()
    qtbot.addWidget(curve)
    curve.resize(200, 132)
    empty = rendered(curve, qtbot)
    curve.show_points([Point(n / 10, 0.5 / (n + 1), "long run") for n in range(11)])
    full = rendered(curve, qtbot)
    blue = (full[..., 2].astype(int) - full[..., 0]) > 60
    assert (empty != full).any()
    columns, rows = np.nonzero(blue.any(0))[0], np.nonzero(blue[:110].any(1))[0]
    assert columns.min() < 50
    assert columns.max() > 180
    assert rows.max() - rows.min() > 60, "the curve fills its canvas"


def test_the_curve_bears_anything(qtbot: QtBot) -> None:
    curve = ErrorCurve()
    qtbot.addWidget(curve)
    for misfits in ([], [0.1], [0.0, float("nan"), float("inf")], [1e-12, 5.0], [0.3] * 1000):
        curve.show_points([Point(0.5, value, "unheard of") for value in misfits])
        rendered(curve, qtbot)


def test_the_picture_keeps_its_shape(qtbot: QtBot) -> None:
    picture = Picture()
    qtbot.addWidget(picture)
    picture.show_image(np.full((20, 10), 200, np.uint8))
    pixels = rendered(picture, qtbot)[..., 0]
    bright = np.nonzero((pixels == 200).any(0))[0]
    assert bright.max() - bright.min() == pytest.approx(picture.width() / 2, abs=4)
    picture.show_image(None)
    assert (rendered(picture, qtbot)[..., 0] == 200).mean() < 0.05


@pytest.mark.parametrize("span", [(0.01, 1.0), (0.012, 0.07), (1e-6, 3.0), (0.31, 0.45)])
def test_ticks(span: tuple[float, float]) -> None:
    found = ticks(*span)
    assert 1 <= len(found) <= 7
    assert all(span[0] <= value <= span[1] for value in found)
