"""Which version of the program this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Version of the installed distribution; ``"unknown"`` where it is not installed."""
    try:
        return version("napari-i2ipr")
    except PackageNotFoundError:
        return "unknown"
