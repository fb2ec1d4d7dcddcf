"""What a run says of itself."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from napari_i2ipr.plugin.panel import RunPanel, in_words
from napari_i2ipr.plugin.state import Progress, RunState, RunStatus


def test_in_words() -> None:
    assert in_words(Progress("short run")) == "trying random starts"
    assert in_words(Progress("a new stage", 0.5, 0.1234, 7.2)) == "a new stage · misfit 0.123 · about 7 s left"
    assert in_words(Progress("refine")) == "refining with the trained network"
    assert in_words(Progress("pattern 2 of 3: long run")) == "pattern 2 of 3: following the best starts"


def test_panel_follows_the_status(qtbot: QtBot) -> None:
    status = RunStatus()
    panel = RunPanel(status)
    qtbot.addWidget(panel)
    panel.set_ready(ready=False)
    assert not panel.run_button.isEnabled()
    panel.set_ready(ready=True)
    assert panel.run_button.isEnabled()
    status.state = RunState.RUNNING
    status.progress = Progress("align", 0.25)
    assert (panel.run_button.isEnabled(), panel.cancel_button.isEnabled()) == (False, True)
    assert panel.bar.text() == "25 %"
    status.state, status.message = RunState.CRASHED, "It failed."
    assert (panel.run_button.isEnabled(), panel.cancel_button.isEnabled()) == (True, False)
    assert panel.message.text() == "It failed."
