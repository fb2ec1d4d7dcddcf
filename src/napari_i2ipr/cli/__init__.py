"""The command ``i2ipr``: one file per command; what is heavy is imported when a command needs it."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the script ``i2ipr`` starts here."""
    from napari_i2ipr.cli.app import app

    app(prog_name="i2ipr")
