"""The border to foreign file libraries: whatever they raise becomes one of our errors, in plain words."""

from __future__ import annotations

import binascii
import logging
import lzma
import math
import os
import stat
import struct
import threading
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_i2ipr.errors import FormatError, I2IPRError, InputError, OutOfMemoryError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOREIGN: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    BufferError,
    ImportError,
    SyntaxError,
    struct.error,
    zlib.error,
    binascii.Error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tokenize.TokenError,
    Warning,
)
"""What h5py, zarr, fabio, tifffile, pillow, SciPy and numpy raise on damaged files; warnings where they are errors."""


def split_dataset(path: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Split ``file.h5::/path/to/data`` at the last ``::``.

    Parameters
    ----------
    path : str or path-like
        Path, with or without a dataset behind ``::``. A file of that very name wins.

    Returns
    -------
    tuple
        The file and the dataset (None when none was named).
    """
    text = os.fspath(path)
    if "::" not in text or _mode(Path(text)) is not None:
        return Path(text), None
    file, _, dataset = text.rpartition("::")
    return Path(file), dataset or None


def head(path: Path, size: int = 4096) -> bytes:
    """First bytes of a file; empty for whatever cannot be read as one (a directory, a missing file)."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except (OSError, ValueError):
        return b""


def _mode(path: Path) -> int | None:
    """Type and permissions; None when there is nothing or it may not be seen."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return None


def is_directory(path: Path) -> bool:
    """Whether it is a directory; false also when that may not be seen."""
    return stat.S_ISDIR(_mode(path) or 0)


def require_file(path: Path) -> None:
    """Refuse what is no readable, non-empty file.

    Raises
    ------
    FormatError
        If the path is missing, a directory, empty, or may not be read.
    """
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(f"no file at {path}", expected="an existing file", do="check the path") from error
    except IsADirectoryError as error:
        raise FormatError(f"the directory {path}", expected="a file or a zarr store", do="name one in it") from error
    except (OSError, ValueError) as error:
        if is_directory(path):  # Windows says "permission denied"
            raise FormatError(f"the directory {path}", expected="a file or a zarr store") from error
        raise FormatError(f"{path}, which may not be read ({reason(error)})", do="check its permissions") from error
    if not first:
        raise FormatError(f"the empty file {path}", expected="a file with data", do="copy or write it again")


def free_memory() -> int:
    """Bytes of memory that are free now."""
    import psutil

    return int(psutil.virtual_memory().available)


def require_memory(path: Path, shape: Sequence[int], itemsize: int) -> None:
    """Refuse what would not fit into memory before it is asked for: headers may claim anything.

    Parameters
    ----------
    path : Path
        The file, for the message.
    shape : sequence of int
        Shape of the array that would be made.
    itemsize : int
        Bytes of one element.

    Raises
    ------
    OutOfMemoryError
        If it takes more than is free.
    """
    needed, free = math.prod(int(n) for n in shape) * int(itemsize), free_memory()
    if needed > free:
        sides = " x ".join(str(int(n)) for n in shape)
        raise OutOfMemoryError(
            f"{sides} values, {needed / 1e9:,.1f} GB, as {path} says",
            expected=f"at most the free memory, {free / 1e9:,.1f} GB",
            do="check that the file is undamaged, or use a machine with more memory",
        )


def reason(error: BaseException) -> str:
    """First line of a foreign error's message, short enough for a sentence."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."


@contextmanager
def reading(path: Path, what: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn the errors of a library that reads `path` into ours.

    Parameters
    ----------
    path : Path
        The file, for the message.
    what : str
        The format's name, e.g. ``"HDF5"``.
    also : tuple of exception types
        Errors of that library beside `FOREIGN`.

    Raises
    ------
    FormatError
        In place of any of them.
    OutOfMemoryError
        In place of a MemoryError.
    """
    try:
        yield
    except I2IPRError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(
            f"more data in {path} than the memory holds", do="read fewer frames or use a machine with more memory"
        ) from error
    except ImportError as error:
        raise FormatError(
            f"{path}, which needs a library that is not here ({reason(error)})", do="install it, then try again"
        ) from error
    except (*FOREIGN, *also) as error:
        raise FormatError(
            f"{path}, which cannot be read as {what} ({reason(error)})",
            expected=f"an undamaged {what} file",
            do="check that it is complete, and that it is what its name says",
        ) from error


@contextmanager
def writing(path: Path, what: str) -> Iterator[None]:
    """Turn the errors of a library that writes `path` into ours.

    Raises
    ------
    OutputError
        If the file system refuses.
    InputError
        If the format cannot hold the data.
    OutOfMemoryError
        In place of a MemoryError.
    """
    try:
        yield
    except I2IPRError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"too little memory to write {path}", do="write fewer frames at once") from error
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path}, which cannot be written ({reason(error)})",
            expected="a writable place with enough free space",
            do="choose another output",
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(
            f"data that {what} cannot hold ({reason(error)})", do="choose another output format"
        ) from error


class _Filter(logging.Filter):
    """Drops a library's log lines of this thread; those at ERROR level raise when asked to."""

    def __init__(self, path: Path, strict: bool) -> None:
        super().__init__()
        self._path = path
        self._strict = strict
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        if self._strict and record.levelno >= logging.ERROR:
            raise FormatError(
                f"the damaged or truncated file {self._path} ({' '.join(record.getMessage().split())[:120]})",
                expected="a complete file",
                do="copy or write it again",
            )
        return False


@contextmanager
def quiet(logger: str, path: Path, *, strict: bool = False) -> Iterator[None]:
    """Keep a library's log lines about `path` off the terminal.

    Parameters
    ----------
    logger : str
        Name of the library's logger.
    path : Path
        The file that is read.
    strict : bool
        Whether an ERROR line means that the data are incomplete: then a FormatError is raised
        where the library would have gone on with zeros.
    """
    log = logging.getLogger(logger)
    only = _Filter(path, strict)
    log.addFilter(only)
    try:
        yield
    finally:
        log.removeFilter(only)
