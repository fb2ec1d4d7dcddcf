"""Units on this machine: dask's threads read the next unit and write the last one while the caller's computes."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar

import dask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")

_DASK: Any = dask  # not typed

WINDOW = 512
"""Units of one task graph: a graph of all of them would grow with the source."""


class _Halt:
    """The first error, after which nothing new is begun; what is under way comes to its end."""

    def __init__(self, other: _Halt | None = None) -> None:
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._other = other

    @property
    def error(self) -> BaseException | None:
        """The first error here, or of the other that this one follows."""
        return self._error or (self._other.error if self._other is not None else None)

    def stop(self, error: BaseException) -> None:
        """Begin nothing new, because of this error unless there was one before."""
        with self._lock:
            self._error = self._error or error

    def guarded(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work` of one argument, or nothing where there is nothing to work on or once there is an error.

        Further arguments are what it had to wait for.
        """

        def run(given: Any, *_after: Any) -> Any:
            if self.error is not None or given is None:
                return None
            try:
                return work(given)
            except BaseException as error:  # noqa: BLE001 - raised again by `run_units`, in the thread that asked
                self.stop(error)
                return None

        return run


class _Hand:
    """One thread for one stage: allocators keep memory by thread."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"i2ipr-{name}")

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._pool.shutdown()

    def does(self, work: Callable[[Any], R]) -> Callable[[Any], R]:
        """`work`, done by this thread while the caller waits."""
        return lambda given: self._pool.submit(work, given).result()


class _Caller:
    """The thread that asked for the work, for the stage that computes.

    Torch's threads (OpenMP's) belong to the thread that uses them. As soon as a second thread has its own, all of them
    sleep between loops instead of waiting, which costs a third of the speed; and the caller's thread mostly has them.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def does(self, work: Callable[[Any], R]) -> Callable[[Any], R]:
        """`work`, done by the caller's thread while the one that needs it waits."""

        def ask(given: Any) -> R:
            answer: Future[R] = Future()
            self._asked.put(lambda: _answer(answer, work, given))
            return answer.result()

        return ask

    def serve(self, until: Callable[[], Any], on_interrupt: Callable[[BaseException], None]) -> None:
        """Do what is asked for, until `until`, in another thread, has come to its end.

        Ctrl-C ends the waiting of this thread only: what is under way still needs its answers.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="i2ipr-tasks") as pool:
            ended = pool.submit(until)
            ended.add_done_callback(lambda _: self._asked.put(None))
            while True:
                try:
                    asked = self._asked.get()
                except KeyboardInterrupt as error:
                    on_interrupt(error)
                    continue
                if asked is None:
                    break
                asked()
            ended.result()


def _answer(answer: Future[R], work: Callable[[Any], R], given: Any) -> None:
    try:
        answer.set_result(work(given))
    except BaseException as error:  # noqa: BLE001 - raised again where the answer is waited for
        answer.set_exception(error)


def run_units(
    units: Iterable[T],
    read: Callable[[T], R],
    compute: Callable[[R], Any],
    write: Callable[[Any], None],
    *,
    ahead: int = 1,
) -> None:
    """Read, compute and write every unit, one computed at a time, in order.

    The reads run at most `ahead` units before the computing, the writes at most one behind it, so that the memory does
    not grow with the number of units.

    Parameters
    ----------
    units : iterable
        What is read.
    read, compute, write : callable
        The three stages, each always in one and the same thread; the computing in the caller's.
    ahead : int
        Units that are read while another is computed; 0 reads a unit only when the one before is computed.

    Raises
    ------
    Exception
        The first error of a stage. Units that were computed by then are written, unless it was a write that failed.
    """
    refused = _Halt()
    halt = _Halt(refused)

    caller, waiting = _Caller(), iter(units)
    with _Hand("reader") as reader, _Hand("writer") as writer, ThreadPoolExecutor(ahead + 3) as tasks:
        stages = (
            halt.guarded(reader.does(read)),
            halt.guarded(caller.does(compute)),
            refused.guarded(writer.does(write)),  # what was computed before a stop or an error is still written
        )

        def run(window: tuple[T, ...]) -> None:
            _DASK.compute(*_graph(window, *stages, ahead), scheduler="threads", pool=tasks)

        while window := tuple(islice(waiting, WINDOW)):
            caller.serve(partial(run, window), halt.stop)
            if halt.error is not None:
                raise halt.error


def _graph(window: tuple[T, ...], read: Any, compute: Any, write: Any, ahead: int) -> list[Any]:
    """The tasks of some units; what a task must wait for is handed to it."""
    computed: list[Any] = []
    written: list[Any] = []
    for i, unit in enumerate(window):
        earlier = i - 1 - ahead
        frames = _task(read)(unit, _token(computed[earlier]) if earlier >= 0 else None)
        before = [_token(computed[i - 1])] if i else []
        before += [written[i - 2]] if i > 1 else []
        computed.append(_task(compute)(frames, *before))
        written.append(_task(write)(computed[i]))
    return written


def _task(function: Any) -> Any:
    return _DASK.delayed(function, pure=False, traverse=False)


def _token(task: Any) -> Any:
    """That a task is done, without what it gave."""
    return _task(_nothing)(task)


def _nothing(_given: Any) -> None:
    return None
