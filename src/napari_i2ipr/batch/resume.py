"""What is there of a target, whether it may be gone on with, and what of it is believed."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_i2ipr.batch import fingerprint
from napari_i2ipr.batch import target as stores
from napari_i2ipr.batch.finish import seal
from napari_i2ipr.batch.journal import Journal
from napari_i2ipr.batch.units import stop_if_asked
from napari_i2ipr.errors import InputError, OutputError
from napari_i2ipr.io import check_output, remove, result_store, swap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_i2ipr.batch.plan import Plan
    from napari_i2ipr.data import Geometry
    from napari_i2ipr.progress import Cancel


@dataclass(frozen=True)
class State:
    """What is there of a target.

    Attributes
    ----------
    store : Path
        Where it lies: the target itself or its partial store.
    plan : Plan
        The plan it was begun with.
    done : frozenset of int
        Units that are believed.
    damaged : frozenset of int
        Units that were marked and are not what was written.
    sealed : bool
        Whether it is complete: all is believed and it has its final name.
    """

    store: Path
    plan: Plan
    done: frozenset[int]
    damaged: frozenset[int]
    sealed: bool

    @property
    def todo(self) -> list[int]:
        """Units that are left to do, in order."""
        return [unit for unit in range(self.plan.n_units) if unit not in self.done]

    def frames(self, units: frozenset[int]) -> int:
        """Frames of some units."""
        return sum(len(self.plan.numbers(unit)) for unit in units)


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep any other run off a target; the lock of a process that died holds nobody up.

    Raises
    ------
    InputError
        If another run is at work on it.
    OutputError
        If the lock cannot be made.
    """
    from filelock import FileLock, Timeout

    file = target.with_name(f".{target.name}.lock")
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{target}, which another run is writing to",
            expected="one run on a target at a time",
            do="wait for it, or choose another target",
        ) from None
    except OSError as error:
        raise OutputError(
            f"{target}, which cannot be locked ({error.strerror or error})", do="choose another"
        ) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # before the release: whoever opened it finds that it has no name any more
        lock.release()


def find(
    target: Path,
    identity: Mapping[str, Any],
    *,
    overwrite: bool,
    resume: bool = True,
    cancel: Cancel | None = None,
) -> State | None:
    """What can be gone on with; None where all begins anew.

    Parameters
    ----------
    target : Path
        The final name.
    identity : mapping
        Fingerprints of source, settings and weights.
    overwrite : bool
        Whether an earlier result may be replaced.
    resume : bool
        Whether unfinished work is gone on with.
    cancel : Cancel, optional
        Stops the look at what is done.

    Raises
    ------
    CancelledError
        When stopped.
    InputError
        If something is there that must not be touched, or was made of another source or with other settings.
    OutputError
        If the place cannot be written to.
    """
    partial = stores.partial_of(target)
    begun, final = stores.read_words(partial), stores.read_words(target)
    if begun is None and final is not None and not overwrite:
        _require_same(target, final, identity)
        return check(target, final, sealed=True, cancel=cancel)
    check_output(target, overwrite=overwrite or bool(begun and begun["batch"].get("replaces")))
    if begun is None:
        if partial.exists() and any(partial.iterdir()):
            raise InputError(
                f"{partial}, which napari-i2ipr did not write", expected="a new name", do="choose another target"
            )
        return None
    if not resume:
        return None
    if overwrite and begun["batch"]["digest"] != fingerprint.digest(identity):
        return None
    _require_same(partial, begun, identity)
    return check(partial, begun, sealed=False, cancel=cancel)


def _require_same(store: Path, words: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    batch = words["batch"]
    if batch["digest"] == fingerprint.digest(identity):
        return
    changed = fingerprint.changes(batch["identity"], identity)
    raise InputError(
        f"{store}, begun with another source or other settings ({'; '.join(changed[:6])})",
        expected="the same ones",
        do="choose another target, or give it up (--overwrite)",
    )


def check(store: Path, words: Mapping[str, Any], *, sealed: bool, cancel: Cancel | None = None) -> State:
    """Which units of a store are believed: those whose shards are, byte by byte, what their marks say.

    Raises
    ------
    CancelledError
        When stopped.
    """
    plan = stores.plan_of(dict(words), store)
    done: set[int] = set()
    damaged: set[int] = set()
    for mark in Journal(store).marks(words["batch"]["digest"]):
        stop_if_asked(cancel)
        (done if stores.is_sound(store, plan, mark) else damaged).add(mark.unit)
    whole = sealed and len(done) == plan.n_units and words["batch"].get("seal") == seal(store, plan)
    return State(store, plan, frozenset(done), frozenset(damaged), whole)


def begin(target: Path, plan: Plan, geometry: Geometry, identity: Mapping[str, Any], *, replaces: bool) -> State:
    """A new partial store in the place of one that was given up; it appears complete or not at all."""
    partial = stores.partial_of(target)
    batch = {
        "plan": plan.to_dict(),
        "identity": dict(identity),
        "digest": fingerprint.digest(identity),
        "replaces": replaces,
    }
    new = partial.with_name(f".{partial.name[:200]}.{secrets.token_hex(4)}")
    try:
        stores.create(new, plan, geometry, result_store.unfinished_words(batch=batch))
        with stores.writing(partial):
            swap(new, partial)
    finally:
        remove(new)
    stores.opened.cache_clear()
    return State(partial, plan, frozenset(), frozenset(), sealed=False)


def reopen(target: Path, state: State) -> State:
    """A complete store with damage in it becomes a partial one again."""
    import zarr

    partial = stores.partial_of(target)
    words = stores.read_words(target) or {}
    with stores.writing(target):
        target.rename(partial)
        root = zarr.open_group(str(partial), mode="r+")
        root.attrs[result_store.KEY] = result_store.unfinished_words(batch={**words["batch"], "seal": None})
    stores.opened.cache_clear()
    return State(partial, state.plan, state.done, state.damaged, sealed=False)


def finished(target: Path, state: State) -> None:
    """Give a store that is complete its final name."""
    stores.opened.cache_clear()
    with stores.writing(target):
        swap(state.store, target)
