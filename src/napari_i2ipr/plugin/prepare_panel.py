# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""The lower part of the Prepare widget: the summary, the buttons, a bar and what is to be said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_i2ipr.plugin.panel import Link
    from napari_i2ipr.plugin.prepare_task import Outlook
    from napari_i2ipr.plugin.state import Progress, RunState, RunStatus

WARNING = "#e5a04d"
"""Colour of what needs attention; readable on dark and on light."""

_BAR_STEPS = 1000
_NOTES = 3
"""So many are shown; all of them are in the tooltip."""
_STALE = "Looking at the new settings ..."
_TOOLTIP = (
    "What will be reconstructed, from a look at the pattern in the background.\n"
    "Oversampling: how much larger the frame is than the object; at least 2 is needed.\n"
    "Alpha: noise level on the scale of the I2I-PR paper, for an image of 0 ... 255."
)


class Summary(QWidget):
    """What will be reconstructed, in words; grey while it is out of date."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.text, self.notes = QLabel(), QLabel(), QLabel()
        self.stale = False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for label in (self.state, self.text, self.notes):
            label.setWordWrap(True)
            label.setToolTip(_TOOLTIP)
            column.addWidget(label)
        self.say("")

    def say(self, words: str) -> None:
        """Say why there is no summary."""
        self._show("<b>What will be reconstructed</b>", words, "")

    def refuse(self, words: str) -> None:
        """Say what is wrong."""
        self._show("<b>This cannot be prepared</b>", "", words, f"color: {WARNING};")

    def set_stale(self) -> None:
        """Mark what is shown as out of date."""
        self.stale = True
        self.state.setText(f"<b>What will be reconstructed</b> <i>{_STALE}</i>")
        for label in (self.text, self.notes):
            label.setEnabled(False)

    def show_outlook(self, found: Outlook) -> None:
        """Show a fresh summary."""
        notes = [f"- {note}" for note in found.notes()]
        seen = notes[:_NOTES] + ([f"- ... and {len(notes) - _NOTES} more: hover here"] if len(notes) > _NOTES else [])
        self._show("<b>What will be reconstructed</b>", "\n".join(found.lines()), "\n".join(seen))
        self.notes.setToolTip("\n".join(notes))

    def _show(self, state: str, text: str, notes: str, style: str = "") -> None:
        self.notes.setStyleSheet(style)
        self.stale = False
        self.state.setText(state)
        for label, words in ((self.text, text), (self.notes, notes)):
            label.setEnabled(True)
            label.setText(words)
            label.setVisible(bool(words))


class PreparePanel(QWidget):
    """Shows a `RunStatus`; its buttons are connected by the widget that owns it.

    Parameters
    ----------
    status : RunStatus
        What is shown.
    """

    def __init__(self, status: RunStatus) -> None:
        super().__init__()
        self._status, self._ready = status, True
        self.find_button, self.run_button, self.cancel_button = map(QPushButton, ("Find centre", "Prepare", "Cancel"))
        self.find_button.setToolTip(
            "Look for the point about which the pattern is symmetric (Friedel's law), of a stack for the common one,\n"
            "and take the point in the picture ready to be dragged."
        )
        self.run_button.setToolTip("Prepare in the background; the result comes as new layers, the input stays.")
        self.cancel_button.setToolTip("Stop now; nothing is added.")
        self.bar = QProgressBar()
        self.bar.setRange(0, _BAR_STEPS)
        self.bar.setFormat("%p %")
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        buttons = QHBoxLayout()
        for button in (self.find_button, self.run_button, self.cancel_button):
            buttons.addWidget(button)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        outer.addLayout(buttons)
        outer.addWidget(self.bar)
        outer.addWidget(self.message)
        self.links: list[Link] = [
            (status.events.state, self._show_state),
            (status.events.progress, self._show_progress),
            (status.events.message, self._show_message),
        ]
        self._show_state()
        self._show_message("")

    def set_ready(self, *, ready: bool) -> None:
        """Say whether there is something to prepare."""
        self._ready = ready
        self._show_state()

    def _show_state(self, _state: RunState | None = None) -> None:
        running = self._status.running
        for button in (self.find_button, self.run_button):
            button.setEnabled(self._ready and not running)
        self.cancel_button.setEnabled(running)
        self.bar.setVisible(running)

    def _show_progress(self, progress: Progress) -> None:
        self.bar.setValue(round(progress.fraction * _BAR_STEPS))
        self.bar.setFormat(f"{progress.stage} · %p %" if progress.stage else "%p %")

    def _show_message(self, said: str) -> None:
        self.message.setText(said)
        self.message.setVisible(bool(said))
