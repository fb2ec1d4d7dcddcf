"""All commands, and the options that come before them."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_i2ipr.cli import _terminal
from napari_i2ipr.cli.batch import batch
from napari_i2ipr.cli.config import config
from napari_i2ipr.cli.demo import demo
from napari_i2ipr.cli.doctor import doctor
from napari_i2ipr.cli.evaluate import evaluate
from napari_i2ipr.cli.info import info
from napari_i2ipr.cli.napari import napari
from napari_i2ipr.cli.prepare import prepare
from napari_i2ipr.cli.reconstruct import reconstruct
from napari_i2ipr.cli.score import score
from napari_i2ipr.cli.simulate import simulate
from napari_i2ipr.cli.train import train
from napari_i2ipr.cli.weights import weights
from napari_i2ipr.version import program_version

app = typer.Typer(
    name="i2ipr",
    help="Phase retrieval: one diffraction pattern in, an image and its uncertainty out.",
    epilog="Exit codes: 0 done, 2 bad input, 3 cancelled, 4 out of memory, 5 the output cannot be written.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (prepare, reconstruct, batch, score, simulate, evaluate, info, napari, config, train, demo, doctor):
    app.command()(command)
app.add_typer(weights)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"i2ipr {program_version()}")
        raise typer.Exit


@app.callback()
def before(
    version: Annotated[  # noqa: ARG001 - answered by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is being done, and show where an error came from.")
    ] = False,
) -> None:
    """Phase retrieval: one diffraction pattern in, an image and its uncertainty out."""
    _terminal.be_verbose(verbose)
