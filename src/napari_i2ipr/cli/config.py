"""``i2ipr config``: the settings of a preset as YAML."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_i2ipr.cli._terminal import guarded


@guarded
def config(
    preset: Annotated[
        str | None, typer.Option("--preset", help="fast, balanced (default), best, or paper.", show_default=False)
    ] = None,
) -> None:
    """Print the settings of a preset as YAML.

    Save it, edit it, and give it to `i2ipr reconstruct --config FILE`.
    """
    from napari_i2ipr.config import DEFAULT_PRESET, Config

    typer.echo(Config.from_preset(preset or DEFAULT_PRESET).to_yaml(), nl=False)
