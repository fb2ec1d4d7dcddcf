"""``i2ipr napari``: the graphical side, with torch loaded before Qt."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_i2ipr.cli._terminal import guarded


@guarded
def napari(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILES", help="Patterns, stacks or results; file.h5::/path works too."),
    ] = None,
    *,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="NAME", help="Also open a sample: cell, photo, stack or beamstop."),
    ] = None,
) -> None:
    """Start napari with files open in it.

    Every file is read by this package, also those that napari would open as ordinary pictures.
    """
    from napari_i2ipr.plugin import start

    start.run(files or (), sample)
