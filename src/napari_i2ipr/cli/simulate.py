"""``i2ipr simulate``: the pattern that a detector would see of an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _files
from napari_i2ipr.cli._terminal import guarded, number, print_table
from napari_i2ipr.errors import ConfigError
from napari_i2ipr.simulation_options import OPTIONS

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement

TRUTH_ENDINGS = (".npy", ".tif", ".tiff")
"""Formats that keep an image exactly as it was read."""


@guarded
def simulate(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The object: picture, TIFF, NPY, file.h5::/path.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The pattern: OUT.cxi, OUT.npz or OUT.zarr.")],
    *,
    alpha: Annotated[
        float | None,
        typer.Option("--alpha", metavar="A", help=f"{OPTIONS['alpha'].text} Not given: no noise."),
    ] = None,
    photons: Annotated[float | None, typer.Option("--photons", metavar="N", help=OPTIONS["photons"].text)] = None,
    oversampling: Annotated[float, typer.Option("--oversampling", help=OPTIONS["oversampling"].text)] = OPTIONS[
        "oversampling"
    ].default,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help=OPTIONS["seed"].text)] = OPTIONS["seed"].default,
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="OUT", help="Also write the image as read: OUT.npy or OUT.tif.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.")] = False,
) -> None:
    """Simulate the diffraction pattern of an image, or of a stack of them.

    The image is zero-padded to the oversampled frame. It is never in the pattern's file.
    """
    from napari_i2ipr import io
    from napari_i2ipr.data import Measurement
    from napari_i2ipr.simulation import simulate as make

    if alpha is not None and photons is not None:
        raise ConfigError("--alpha and --photons", expected="one of them", do="leave one of them out")
    _files.require_other_file(output, image)
    io.check_output(output, Measurement, overwrite=overwrite)
    if truth is not None:
        _files.require_other_file(truth, image)
        _files.check_file(truth, TRUTH_ENDINGS, overwrite=overwrite)
    known = io.read_image(image)
    pattern = make(known, alpha=alpha, photons=photons, oversampling=oversampling, seed=seed)
    io.write(pattern, output, overwrite=overwrite)
    if truth is not None:
        _write_image(known, truth)
    typer.echo(f"simulated the pattern of {image} into {output}")
    print_table(_in_words(pattern, known.shape, photons, truth))


def _in_words(
    pattern: Measurement, shape: tuple[int, ...], photons: float | None, truth: Path | None
) -> dict[str, str]:
    if photons is not None:
        noise = (
            f"Poisson, {number(photons)} photons in the pattern (alpha {number(pattern.alpha)} in the image's units)"
        )
    elif pattern.alpha:
        noise = f"alpha {number(pattern.alpha)} in the image's units"
    else:
        noise = "none; --alpha or --photons adds it"
    return {
        "image": " x ".join(str(n) for n in shape) + " px",
        "pattern": " x ".join(str(n) for n in pattern.shape) + " px, zero frequency at n // 2",
        "noise": noise,
        "truth": str(truth) if truth else "",
    }


def _write_image(image: Any, path: Path) -> None:
    """The image as it was read, in full precision."""
    import numpy as np

    with _files.writing_file(path) as partial:
        if path.suffix.lower() == ".npy":
            np.save(partial, image)
            return
        import tifffile

        tifffile.imwrite(partial, image)
