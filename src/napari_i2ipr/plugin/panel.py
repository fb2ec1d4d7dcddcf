# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Run, Cancel, a bar and what is to be said: the lower part of every widget that runs something."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_i2ipr.plugin.state import Progress, RunState, RunStatus

Link = tuple[Any, Callable[..., Any]]
"""A signal of Qt, psygnal or napari, and what is connected to it."""

STAGES = {
    "starting": "getting ready (the first run takes a few seconds more)",
    "short run": "trying random starts",
    "long run": "following the best starts",
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
        self.run_button = QPushButton("Run")
        self.run_button.setToolTip("Reconstruct the pattern in the background.")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip("Stop now and show the best estimate so far.")
        self.bar = QProgressBar()
        self.bar.setRange(0, _BAR_STEPS)
        self.bar.setFormat("%p %")
        self.stage, self.message = QLabel(), QLabel()
        self.stage.setToolTip(
            "Misfit: how far the best estimate is from the measured amplitudes, 0 = no misfit. Noise keeps it above 0."
        )
        self.message.setToolTip(
            "R-factor: share of the measured amplitudes that the result does not explain, 0 = all of them explained. "
            "Noise, and the averaging of candidates that differ, keep it above 0."
        )
        self._lay_out()
        self.links: list[Link] = [
            (status.events.state, self._show_state),
            (status.events.progress, self._show_progress),
            (status.events.message, self._show_message),
        ]
        connect(self.links)
        self._show_state()
        self._show_progress(status.progress)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addLayout(buttons)
        outer.addWidget(self.bar)
        for text in (self.stage, self.message):
            text.setWordWrap(True)
            outer.addWidget(text)

    def set_ready(self, *, ready: bool) -> None:
        """Say whether there is something to run."""
        self._ready = ready
        self._show_state()

    def _show_state(self, _state: RunState | None = None) -> None:
        self.run_button.setEnabled(self._ready and not self._status.running)
        self.cancel_button.setEnabled(self._status.running)

    def _show_progress(self, progress: Progress) -> None:
        self.bar.setValue(round(progress.fraction * _BAR_STEPS))
        self.stage.setText(in_words(progress))
        self.stage.setVisible(bool(progress.stage))

    def _show_message(self, said: str) -> None:
        self.message.setText(said)


def in_words(progress: Progress) -> str:
    """One line: what is being done, how well it fits, how long it will take."""
    before, colon, stage = progress.stage.rpartition(": ")
    parts = [before + colon + STAGES.get(stage, stage)]
    if progress.score is not None:
        parts.append(f"misfit {progress.score:.3f}")
    if progress.seconds_left is not None:
        parts.append(f"about {progress.seconds_left:.0f} s left")
    return " · ".join(parts)


def connect(links: list[Link]) -> None:
    """Connect every pair of the list."""
    for signal, slot in links:
        signal.connect(slot)


def disconnect(links: list[Link], _sender: Any = None) -> None:
    """Disconnect everything in the list, once."""
    while links:
        signal, slot = links.pop()
        with suppress(RuntimeError, TypeError, ValueError):  # its sender or receiver is gone already
            signal.disconnect(slot)
