"""Outputs appear under their name complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_i2ipr.errors import I2IPRError, InputError, OutputError
from napari_i2ipr.io._guard import reason
from napari_i2ipr.io._ours import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_target(path: Path, *, overwrite: bool) -> Path:
    """Refuse an output that cannot or must not be written.

    Parameters
    ----------
    path : Path
        The output; a symbolic link stands for what it points to.
    overwrite : bool
        Whether an output of ours that exists may be replaced.

    Returns
    -------
    Path
        Where it will really lie.

    Raises
    ------
    InputError
        If it exists and `overwrite` is false, or it is nothing that this package wrote.
    OutputError
        If its directory is missing or cannot be written to.
    """
    try:
        target = Path(os.path.realpath(path))
        exists = os.path.lexists(target)
        if exists and not overwrite:
            raise InputError(
                f"the existing output {path}",
                expected="a new name",
                do="choose another or allow overwriting (--overwrite)",
            )
        if exists and not replaceable(target):
            raise InputError(
                f"{path}, which napari-i2ipr did not write",
                expected="a new name or an earlier output",
                do="choose another name, or delete it yourself",
            )
        if not target.parent.is_dir():
            raise OutputError(
                f"no directory {path.parent}", expected="an existing one", do=f"create {path.parent} first"
            )
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except I2IPRError:
        raise
    except ValueError as error:
        raise OutputError(f"the output name {str(path)!r}", expected="a valid path", do="choose another") from error
    except OSError as error:
        raise OutputError(
            f"{path}, which cannot be written ({reason(error)})",
            expected="a writable directory",
            do="choose another output",
        ) from error
    return target


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A sibling name to write to; on success it takes the final name, on failure nothing is left.

    Parameters
    ----------
    path : Path
        The output, a file or a directory.
    overwrite : bool
        Whether an earlier output of ours is replaced.

    Yields
    ------
    Path
        The temporary name.

    Raises
    ------
    InputError, OutputError
        See `check_target`.
    """
    target = check_target(path, overwrite=overwrite)
    partial = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        check_target(path, overwrite=overwrite)
        swap(partial, target)
    except I2IPRError:
        raise
    except OSError as error:
        raise OutputError(f"{path}, which cannot be written ({reason(error)})", do="choose another output") from error
    finally:
        remove(partial)


def replaceable(target: Path) -> bool:
    """Whether an existing output is one of ours, or holds nothing at all."""
    if target.is_dir():
        return kind_of(target) is not None or not any(target.iterdir())
    return kind_of(target) is not None or target.stat().st_size == 0


def swap(partial: Path, target: Path) -> None:
    """Give `partial` the final name; what was there is deleted only after that."""
    if not target.is_dir() and not partial.is_dir():
        partial.replace(target)
        return
    old = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.old")
    existed = os.path.lexists(target)
    if existed:
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        if existed:
            old.rename(target)
        raise
    remove(old)


def remove(path: Path) -> None:
    """Delete a file or a directory, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
