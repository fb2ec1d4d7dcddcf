"""The package's errors: each is ours and a builtin, and says *got ... expected ... do ...*."""

from __future__ import annotations


class I2IPRError(Exception):
    """Root of every error that napari-i2ipr raises on purpose.

    Parameters
    ----------
    got : str
        What was found.
    expected : str, optional
        What would have been right.
    do : str, optional
        The next step for the user.
    """

    exit_code = 1

    def __init__(self, got: str, *, expected: str = "", do: str = "") -> None:
        self.got = got
        self.expected = expected
        self.do = do
        parts = [f"got {got}"]
        if expected:
            parts.append(f"expected {expected}")
        if do:
            parts.append(do)
        super().__init__("; ".join(parts))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword fields when the error crosses a process border."""
        return (_rebuild, (type(self), self.got, self.expected, self.do))


def _rebuild(kind: type[I2IPRError], got: str, expected: str, do: str) -> I2IPRError:
    return kind(got, expected=expected, do=do)


class InputError(I2IPRError, ValueError):
    """The measurement, mask, support or image cannot be used (exit code 2)."""

    exit_code = 2


class ConfigError(I2IPRError, ValueError):
    """A setting is unknown or out of range (exit code 2)."""

    exit_code = 2


class FormatError(I2IPRError, OSError):
    """A file is truncated, foreign, or lacks what was asked for (exit code 2)."""

    exit_code = 2


class DataWarning(UserWarning):
    """Something about the data was guessed or mended; the message says what was done."""


class CancelledError(I2IPRError, RuntimeError):
    """The user stopped the work before anything could be returned (exit code 3)."""

    exit_code = 3


class OutOfMemoryError(I2IPRError, MemoryError):
    """The work needs more memory than is free (exit code 4)."""

    exit_code = 4


class OutputError(I2IPRError, OSError):
    """The result cannot be written (exit code 5)."""

    exit_code = 5
