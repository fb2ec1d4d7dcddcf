"""The door to fabio: its log lines of damaged data as errors, and streams that bound what it asks for."""

from __future__ import annotations

import io
import threading
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from napari_i2ipr.errors import FormatError
from napari_i2ipr.io._guard import free_memory, head, quiet, reading, require_file, require_memory
from napari_i2ipr.io._pick import no_inner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
_LOGGERS = ("fabio.fabioimage", "fabio.compression.compression", "fabio.fabioutils")
_BLOCK = 512


class Stream(io.RawIOBase):
    """A file as fabio reads it: no read asks for more bytes than there are, and no header sends it in a circle.

    Parameters
    ----------
    raw : binary file
        What is read; closed with the stream.
    name : str
        Name of the file.
    """

    def __init__(self, raw: BinaryIO, name: str) -> None:
        super().__init__()
        self._raw = raw
        self.name, self.mode, self.lock = name, "rb", threading.Semaphore()
        self.length = raw.seek(0, io.SEEK_END)
        raw.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """At most so many bytes; all that are left without a size."""
        left = max(self.length - self._raw.tell(), 0)
        return self._raw.read(left if size is None or size < 0 else min(size, left))

    def write(self, data: Any, /) -> int:
        """Refused; fabio takes what has such a method for an open file."""
        raise io.UnsupportedOperation("write")

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; by more than a block backwards only to a place of its own."""
        if whence == io.SEEK_CUR and offset < -_BLOCK:
            raise ValueError(f"a block of {offset} bytes")
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self._raw.tell()

    def close(self) -> None:
        """Close what is read, too."""
        self._raw.close()
        super().close()


def start(path: Path, size: int = 4096) -> bytes:
    """First bytes of a file, or of what a gzip file holds; empty for whatever cannot be read."""
    found = head(path, size)
    if not found.startswith(GZIP_MAGIC):
        return found
    try:
        return zlib.decompressobj(31).decompress(found, size)
    except zlib.error:
        return b""


def is_compressed(path: Path) -> bool:
    """Whether it is a gzip file."""
    return head(path, len(GZIP_MAGIC)) == GZIP_MAGIC


def content(path: Path) -> bytes:
    """All bytes of a file, or of what a gzip file holds.

    Raises
    ------
    OutOfMemoryError
        If they do not fit into memory.
    FormatError
        If the gzip file is cut off.
    """
    require_memory(path, (path.stat().st_size,), 1)
    raw = path.read_bytes()
    if not raw.startswith(GZIP_MAGIC):
        return raw
    engine, limit = zlib.decompressobj(31), free_memory()
    whole = engine.decompress(raw, limit)
    if engine.unconsumed_tail:
        require_memory(path, (limit + 1,), 1)
    if not engine.eof:
        raise FormatError(f"the truncated gzip file {path}", expected="all of it", do="copy it again")
    return whole


@contextmanager
def decoding(path: Path, dataset: str | None, name: str, module: str) -> Iterator[None]:
    """Turn fabio's errors, and its log lines of incomplete data, into ours.

    Parameters
    ----------
    path : Path
        The file.
    dataset : str or None
        What was asked for in it; these formats have nothing inside.
    name : str
        Name of the format, for messages.
    module : str
        Name of fabio's module, e.g. ``"cbfimage"``.

    Raises
    ------
    FormatError
        If the file cannot be read, or fabio is not installed.
    """
    require_file(path)
    no_inner(path, dataset, name)
    with ExitStack() as stack:
        stack.enter_context(reading(path, name))
        stack.enter_context(quiet(f"fabio.{module}", path, strict=True))
        for logger in _LOGGERS:
            stack.enter_context(quiet(logger, path))
        yield


def stream_of(path: Path) -> Stream:
    """The open file, or what a gzip file holds, from memory."""
    raw: BinaryIO = io.BytesIO(content(path)) if is_compressed(path) else path.open("rb")
    return Stream(raw, str(path))
