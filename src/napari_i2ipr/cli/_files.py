"""Files that a command writes beside its result: checked before the work, complete or not there at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_i2ipr.errors import InputError, OutputError


def check_file(path: Path, endings: tuple[str, ...], *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written.

    Raises
    ------
    InputError
        If its ending is not one of `endings`, or it exists and `overwrite` is false.
    OutputError
        If its directory is missing or cannot be written to.
    """
    if path.suffix.lower() not in endings:
        raise InputError(f"the output name {path}", expected=f"a name that ends in {', '.join(endings)}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise InputError(
            f"the existing output {path}", expected="a new name", do="choose another or allow overwriting (--overwrite)"
        )
    if not path.parent.is_dir():
        raise OutputError(f"no directory {path.parent}", expected="an existing one", do=f"create {path.parent} first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path.parent}, which may not be written to", expected="a writable directory")


@contextmanager
def writing_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the name of `path` when all went well.

    Raises
    ------
    OutputError
        If the file system refuses.
    """
    partial = path.with_name(f".{path.stem[:200]}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}, which cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def require_other_file(output: Path, source: str) -> None:
    """Refuse to write the output over the file that it is made from.

    Raises
    ------
    InputError
        If they are one file.
    """
    file = Path(source.rpartition("::")[0] or source)
    if output.exists() and file.exists() and output.samefile(file):
        raise InputError(f"{output} as input and as output", expected="two names", do="choose another output")
