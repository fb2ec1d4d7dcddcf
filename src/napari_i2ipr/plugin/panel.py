# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Run, Cancel, two bars, a live view and what is to be said: the lower part of every widget that runs something."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_i2ipr.plugin.live import LiveView
from napari_i2ipr.plugin.state import Progress, RunState, RunStatus, duration

Link = tuple[Any, Callable[..., Any]]
"""A signal of Qt, psygnal or napari, and what is connected to it."""

STAGES = {
    "starting": "getting ready (the first time: some seconds)",
    "short run": "trying random starts",
    "long run": "following the best starts",
    "blind mean": "averaging them for the final run",
    "final run": "improving them from their mean",
    "align": "aligning and averaging",
    "refine": "refining with the trained network",
    "stopping": "stopping",
}
"""Plain words for the stages of the engine."""

_BAR_STEPS = 1000


class RunPanel(QWidget):
    """Shows a `RunStatus`; its buttons are connected by the widget that owns it.

    Parameters
    ----------
    status : RunStatus
        What is shown.
    """

    def __init__(self, status: RunStatus) -> None:
        super().__init__()
        self._status, self._ready = status, True
        self.estimate = QLabel()
        self.estimate.setToolTip(
            "What the run will take, at most: time from the last run of its kind on this computer, or from a short\n"
            "measurement of its speed; memory from the size of the pattern. Both are estimates."
        )
        self.preview_button = QPushButton("Preview")
        self.preview_button.setToolTip(
            "A quick look: the pattern shown, a few short starts, no refinement.\n"
            "Its layer is replaced by the next preview."
        )
        self.run_button = QPushButton("Run")
        self.run_button.setToolTip("Reconstruct in the background; the result comes as new layers.")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop now and show the best estimate so far.")
        self.bar, self.stage_bar = _bar(), _bar()
        self.bar.setToolTip("The whole run, all patterns and candidate sets.")
        self.stage_bar.setToolTip(
            "The stage at hand. Misfit: how far its best estimate is from the measured amplitudes, 0 = no misfit.\n"
            "Noise keeps it above 0."
        )
        self.stage, self.message = QLabel(), QLabel()
        self.stage.setToolTip("What is being done.")
        self.message.setToolTip(
            "R-factor: share of the measured amplitudes that the result does not explain, 0 = all of them explained.\n"
            "Noise, and the averaging of candidates that differ, keep it above 0."
        )
        self.live = LiveView()
        self._lay_out()
        self.links: list[Link] = [
            (status.events.state, self._show_state),
            (status.events.progress, self._show_progress),
            (status.events.message, self._show_message),
        ]
        connect(self.links)
        self._show_state()
        self._show_progress(status.progress)
        self._show_message(status.message)
        self.live.hide()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        for button, stretch in ((self.preview_button, 2), (self.run_button, 3), (self.cancel_button, 2)):
            buttons.addWidget(button, stretch)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        outer.addWidget(self.estimate)
        outer.addLayout(buttons)
        for widget in (self.bar, self.stage, self.stage_bar, self.live, self.message):
            outer.addWidget(widget)
        for text in (self.estimate, self.stage, self.message):
            text.setWordWrap(True)
            text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def set_ready(self, *, ready: bool) -> None:
        """Say whether there is something to run."""
        self._ready = ready
        self._show_state()

    def _show_state(self, _state: RunState | None = None) -> None:
        running = self._status.running
        for button in (self.run_button, self.preview_button):
            button.setEnabled(self._ready and not running)
        self.cancel_button.setEnabled(running)
        self.stage_bar.setVisible(running)
        self.stage.setVisible(running)
        if running:
            self.live.show()
        elif not self._status.progress.trace.points:  # nothing was seen of it
            self.live.hide()

    def _show_progress(self, progress: Progress) -> None:
        self.bar.setValue(round(progress.fraction * _BAR_STEPS))
        self.stage_bar.setValue(round(progress.stage_fraction * _BAR_STEPS))
        self.bar.setFormat(whole_in_words(progress))
        self.stage_bar.setFormat("%p %" if progress.score is None else f"%p % · misfit {progress.score:.3f}")
        self.stage.setText(in_words(progress))
        if self._status.running:
            self.live.show_progress(progress)

    def _show_message(self, said: str) -> None:
        self.message.setText(said)
        self.message.setVisible(bool(said))


def _bar() -> QProgressBar:
    bar = QProgressBar()
    bar.setRange(0, _BAR_STEPS)
    bar.setFormat("%p %")
    return bar


def whole_in_words(progress: Progress) -> str:
    """On the first bar: which pattern, the share that is done, the time left."""
    parts = [f"pattern {progress.frame + 1} of {progress.frames}"] if progress.frames > 1 else []
    parts.append("%p %")
    if progress.seconds_left is not None:
        parts.append(f"about {duration(progress.seconds_left)} left")
    return " · ".join(parts)


def in_words(progress: Progress) -> str:
    """One line: what is being done."""
    parts = [STAGES.get(progress.stage, progress.stage)]
    if progress.members > 1 and progress.stage not in ("align", "refine", "starting", "stopping", ""):
        parts.insert(0, f"set {progress.member + 1} of {progress.members}")
    return " · ".join(parts)


def connect(links: list[Link]) -> None:
    """Connect every pair of the list."""
    for signal, slot in links:
        signal.connect(slot)


def disconnect(links: list[Link], _sender: Any = None) -> None:
    """Disconnect everything in the list, once."""
    while links:
        signal, slot = links.pop()
        with suppress(RuntimeError, SystemError, TypeError, ValueError):  # its sender or receiver is gone already
            signal.disconnect(slot)
