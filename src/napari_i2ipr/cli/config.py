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
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Those of `i2ipr prepare` instead, with their defaults.")
    ] = False,
) -> None:
    """Print the settings of a preset as YAML.

    Save it, edit it, and give it to `i2ipr reconstruct --config FILE`, or those of the preparation to
    `i2ipr prepare --config FILE`.
    """
    if prepare:
        from napari_i2ipr.errors import ConfigError
        from napari_i2ipr.prepare import Preparation

        if preset is not None:
            raise ConfigError("--preset and --prepare", expected="one of them", do="the preparation has no presets")
        typer.echo(Preparation().to_yaml(), nl=False)
        return
    from napari_i2ipr.config import DEFAULT_PRESET, Config

    typer.echo(Config.from_preset(preset or DEFAULT_PRESET).to_yaml(), nl=False)
