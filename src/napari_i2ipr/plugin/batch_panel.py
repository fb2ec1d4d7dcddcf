# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The lower part of the Batch widget: the plan, the buttons, a bar and what is to be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_i2ipr.plugin.batch_words import Overall
    from napari_i2ipr.plugin.panel import Link
    from napari_i2ipr.plugin.state import RunState, RunStatus

_BAR_STEPS = 1000
_PLAN = (
    "What the whole list takes, as `i2ipr batch --plan` tells it: the time from a short run of one pattern,\n"
    "memory and disk at most. Grey: something was changed since."
)


class BatchPanel(QWidget):
    """Shows a `RunStatus` and the plan; its buttons are connected by the widget that owns it.

    Parameters
    ----------
    status : RunStatus
        What is shown.
    """

    def __init__(self, status: RunStatus) -> None:
        super().__init__()
        self._status, self._ready = status, False
        self.plan, self.message = QLabel(), QLabel()
        self.plan.setToolTip(_PLAN)
        self.plan_button, self.run_button, self.cancel_button = map(QPushButton, ("Plan", "Run", "Cancel"))
        self.plan_button.setToolTip("Look at all sources and say what they will take, before any work.")
        self.run_button.setToolTip(
            "Reconstruct everything in the list, one after another, in the background.\n"
            "What an earlier run has done is kept: only the rest is done."
        )
        self.cancel_button.setToolTip("Stop now. What is done is kept, and Run goes on from there.")
        self.bar = QProgressBar()
        self.bar.setRange(0, _BAR_STEPS)
        self.bar.setTextVisible(False)
        self.bar.setToolTip("The whole list.")
        self.progress = QLabel()
        self.progress.setToolTip("Patterns done, patterns a minute, time left, memory of the program.")
        self._lay_out()
        self.links: list[Link] = [
            (status.events.state, self._show_state),
            (status.events.message, self._show_message),
        ]
        self.say_plan([], stale=False)
        self._show_state()
        self._show_message("")

    def _lay_out(self) -> None:
        for label in (self.plan, self.progress, self.message):
            label.setWordWrap(True)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        buttons = QHBoxLayout()
        for button in (self.plan_button, self.run_button, self.cancel_button):
            buttons.addWidget(button)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        outer.addWidget(self.plan)
        outer.addLayout(buttons)
        for widget in (self.bar, self.progress, self.message):
            outer.addWidget(widget)

    def set_ready(self, *, ready: bool) -> None:
        """Say whether there is something to run."""
        self._ready = ready
        self._show_state()

    def say_plan(self, lines: list[str], *, stale: bool) -> None:
        """Show a plan, grey where it is out of date."""
        self.plan.setText("\n".join(lines))
        self.plan.setEnabled(not stale)
        self.plan.setVisible(bool(lines))

    def show_overall(self, found: Overall) -> None:
        """Show how far the list has come."""
        self.bar.setValue(round(found.fraction * _BAR_STEPS))
        self.progress.setText(found.words)

    def _show_state(self, _state: RunState | None = None) -> None:
        running = self._status.running
        for button in (self.plan_button, self.run_button):
            button.setEnabled(self._ready and not running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(running)
        self.progress.setVisible(running)

    def _show_message(self, said: str) -> None:
        self.message.setText(said)
        self.message.setVisible(bool(said))
