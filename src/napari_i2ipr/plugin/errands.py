# mypy: disable-error-code="attr-defined"
# (qtpy takes its names from whichever Qt is installed; where none is, as for mypy, it has none)
"""Short work in another thread, one piece after another, while a run goes on in a third."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, QRunnable, QThreadPool, Signal

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Errand:
    task: Callable[[], Any]
    then: Callable[[Any], None]
    wrong: Callable[[Exception], None]


class Errands(QObject):
    """Does one errand at a time in a thread of the pool and tells of its end in the main thread.

    Workers of napari change the warnings of the whole program while they work, and put back what they found; two of
    them at a time would put back what the other one had set. These leave the warnings alone.

    Parameters
    ----------
    parent : QObject
        Owner, usually a widget.
    """

    _ended = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: deque[_Errand] = deque()
        self._now: _Errand | None = None
        self._ended.connect(self._on_ended)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return self._now is not None or bool(self._waiting)

    def do(self, task: Callable[[], Any], then: Callable[[Any], None], wrong: Callable[[Exception], None]) -> None:
        """Do this after what is waiting.

        Parameters
        ----------
        task : callable
            Called without arguments, in the other thread.
        then, wrong : callable
            Called with what it gave or raised, in the main thread.
        """
        self._waiting.append(_Errand(task, then, wrong))
        self._next()

    def close(self) -> None:
        """Begin nothing more, and hear no more of what is under way."""
        self._waiting.clear()
        self._now = None
        with suppress(RuntimeError, TypeError):  # already gone
            self._ended.disconnect(self._on_ended)

    def _next(self) -> None:
        if self._now is None and self._waiting:
            self._now = self._waiting.popleft()
            QThreadPool.globalInstance().start(_Thread(self._now.task, self._ended))

    def _on_ended(self, result: Any, error: Exception | None) -> None:
        errand, self._now = self._now, None
        if errand is not None:
            if error is None:
                errand.then(result)
            else:
                errand.wrong(error)
        self._next()


class _Thread(QRunnable):
    """Does an errand in a thread of the pool, which owns it."""

    def __init__(self, task: Callable[[], Any], ended: Any) -> None:
        super().__init__()
        self._task, self._ended = task, ended

    def run(self) -> None:
        """Do it; called in the other thread."""
        result, error = None, None
        try:
            result = self._task()
        except Exception as raised:  # noqa: BLE001 - all of them reach the user, in the main thread
            log.warning("%s: %s", self._task, raised)
            error = raised
        with suppress(RuntimeError):  # the widget was closed meanwhile
            self._ended.emit(result, error)
