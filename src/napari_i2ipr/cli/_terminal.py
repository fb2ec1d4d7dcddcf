"""Between the commands and the terminal: errors and warnings as lines, Ctrl-C, progress, JSON."""

from __future__ import annotations

import functools
import json
import logging
import math
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec

import typer

from napari_i2ipr.errors import CancelledError, I2IPRError, OutOfMemoryError
from napari_i2ipr.progress import Cancel, Event, OnEvent

P = ParamSpec("P")

LOG = logging.getLogger("napari_i2ipr.cli")


class _Lines(logging.Handler):
    """Log records as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


def be_verbose(verbose: bool) -> None:
    """Show log lines of this package, or keep them off the terminal."""
    if not LOG.handlers:
        LOG.addHandler(_Lines())
        LOG.propagate = False
    LOG.setLevel(logging.INFO if verbose else logging.WARNING)


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors become one line and an exit code, and whose warnings become one line each."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _warnings_as_lines():
                function(*args, **kwargs)
        except I2IPRError as error:
            raise typer.Exit(_report(error, error)) from None
        except MemoryError as error:
            ours: I2IPRError = OutOfMemoryError("too little memory", do="crop or bin the data")
            raise typer.Exit(_report(ours, error)) from None
        except KeyboardInterrupt as error:
            raise typer.Exit(_report(CancelledError("a stop (Ctrl-C)", do="run it again"), error)) from None

    return run


def _report(error: I2IPRError, origin: BaseException) -> int:
    """Print an error in one line; returns its exit code."""
    LOG.info("where the error came from:", exc_info=origin)
    typer.echo(f"error: {' '.join(str(error).split())}", err=True)
    return error.exit_code


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Every warning in one line on standard error, each text once."""
    seen: set[str] = set()

    def show(*details: Any, **_: Any) -> None:
        message, category, filename, line = details[:4]
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            typer.echo(f"warning: {text}", err=True)
            LOG.info("(%s from %s, line %d)", category.__name__, filename, line)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def stoppable(*also: signal.Signals) -> Iterator[Cancel]:
    """A stop flag that Ctrl-C sets, and any other signal that is given; a second Ctrl-C stops at once."""
    cancel = Cancel()

    def stop(*_: object) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, *also)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress() -> Iterator[OnEvent | None]:
    """A bar with the current score where a person watches; stages as log lines with ``-v``; quiet otherwise."""
    if not sys.stderr.isatty():
        yield _logged() if LOG.isEnabledFor(logging.INFO) else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[score]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None, score="")
        stage, score = "", ""

        def show(event: Event) -> None:
            nonlocal stage, score
            if event.stage != stage:
                stage = event.stage
                bar.reset(task, total=event.total, description=stage)
            if event.score is not None:
                score = f"misfit {event.score:.4f}"
            bar.update(task, total=event.total, completed=event.done, score=score)

        yield show


def _logged() -> OnEvent:
    stages: list[str] = []

    def show(event: Event) -> None:
        if event.message or not stages or stages[-1] != event.stage:
            stages.append(event.stage)
            LOG.info("%s %s", event.stage, event.message)

    return show


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on standard output; numbers that are not finite become null."""
    typer.echo(json.dumps(_finite(values), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def print_table(rows: Mapping[str, str]) -> None:
    """Names and what there is to say of them, in two columns; empty rows are left out."""
    width = max(map(len, rows))
    for name, text in rows.items():
        if text:
            typer.echo(f"{name:<{width}}  {text}")


def number(value: Any, digits: int = 4) -> str:
    """A number for reading; a dash where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}g}"
