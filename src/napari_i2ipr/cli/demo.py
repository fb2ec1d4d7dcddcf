"""``i2ipr demo``: the built-in sample from pattern to scores, without a file or a setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_i2ipr.cli import _files, _report, evaluate, reconstruct
from napari_i2ipr.cli._terminal import guarded, number, print_table
from napari_i2ipr.errors import CancelledError, OutputError

if TYPE_CHECKING:
    from napari_i2ipr.data import Measurement, Reconstruction

ALPHA = 3.0
"""Noise level of the sample: the middle one of the paper."""

FILES = ("pattern.cxi", "reconstruction.zarr", "reconstruction.cxi", "figure.png")


@guarded
def demo(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for the results; an earlier demo in it is replaced.")
    ] = Path("demo-output"),
) -> None:
    """Reconstruct the built-in sample pattern on the CPU."""
    from napari_i2ipr import io, simulation
    from napari_i2ipr.config import Config
    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate import evaluate as score
    from napari_i2ipr.phantoms import cell

    pattern_file, store, cxi, figure = (output / name for name in FILES)
    _make_folder(output)
    io.check_output(pattern_file, Measurement, overwrite=True)
    io.check_output(store, Reconstruction, overwrite=True)
    io.check_output(cxi, Reconstruction, overwrite=True)
    _files.check_file(figure, (".png",), overwrite=True)
    truth = cell()
    pattern = simulation.simulate(truth, alpha=ALPHA)
    (h, w), (ny, nx) = truth.shape[-2:], pattern.frame_shape
    typer.echo(f"Simulated the diffraction pattern of a built-in picture of cells ({h} x {w} px), zero-padded to")
    typer.echo(f"{ny} x {nx} px, with noise of alpha {ALPHA:g}. Only the pattern is used from here on.\n")
    io.write(pattern, pattern_file, overwrite=True)
    settings = Config()
    result = reconstruct.run(pattern, settings, "cpu")
    if result.status.name == "CANCELLED":
        raise CancelledError("a stop (Ctrl-C)", do="only the pattern was written; start the demo again")
    io.write(result, store, overwrite=True)
    io.write(result, cxi, overwrite=True)
    scores = score(result, truth)
    _draw(figure, pattern, result, truth, scores)
    starts = settings.members * settings.initialisation.n_starts
    typer.echo(f"Reconstructed it from {starts} random starts, brought the best to one orientation without knowing the")
    typer.echo(f"picture, averaged them{_what_refinement_did(result)}:\n")
    print_table(_report.in_words(result))
    typer.echo("\nCompared with the picture, up to what an intensity cannot tell (orientation and place):\n")
    print_table(evaluate.score_rows(scores))
    if result.scores.get("refined"):
        typer.echo("\nWhat the refinement brought:\n")
        print_table({"classical mean": _quality(score(classical_mean(result), truth)), "refined": _quality(scores)})
    typer.echo(f"\nWritten to {output}: {', '.join(FILES)}")


def _what_refinement_did(result: Reconstruction) -> str:
    """The end of the sentence that says how the image was made."""
    if result.scores.get("refined"):
        return ", and refined them with a trained network that keeps to the pattern"
    return "; the learned refinement did not suit the pattern, so the mean is the result"


def _quality(scores: dict[str, Any]) -> str:
    return f"PSNR {number(scores['psnr'])} dB, SSIM {number(scores['ssim'], 3)}"


def classical_mean(result: Reconstruction) -> Reconstruction:
    """A refined result with the classical mean in the place of its image."""
    return result if result.classical is None else replace(result, image=result.classical)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder}, which cannot be made ({error.strerror or error})", do="choose another --output"
        ) from None


def _draw(file: Path, pattern: Measurement, result: Reconstruction, truth: Any, scores: dict[str, Any]) -> None:
    """The figure with the truth's error."""
    from napari_i2ipr.evaluate.figure import save_figure

    title = (
        f"i2ipr demo, alpha {ALPHA:g}: PSNR {number(scores['psnr'])} dB, SSIM {number(scores['ssim'], 3)}, "
        f"R-factor {number(result.scores.get('r_factor'), 3)}"
    )
    with _files.writing_file(file) as partial:
        save_figure(partial, pattern, result, truth, title=title)
