"""Pictures of a training and of a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BINS = 20
"""Points of a calibration curve, each the same number of pixels."""


def save_training_curve(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw validation PSNR and loss against training time into a PNG file.

    Parameters
    ----------
    path : Path
        New PNG file.
    rows : sequence of mapping
        ``seconds``, ``loss``, ``psnr_before``, ``psnr``, ``psnr_averaged`` of every checkpoint.
    """
    minutes = [float(row["seconds"]) / 60 for row in rows]
    figure, (left, right) = _axes(2)
    left.plot(minutes, [float(row["psnr_averaged"]) for row in rows], "o-", label="refined, averaged weights")
    left.plot(minutes, [float(row["psnr"]) for row in rows], ".:", label="refined")
    left.plot(minutes, [float(row["psnr_before"]) for row in rows], "k--", label="classical mean")
    left.set(xlabel="training time (min)", ylabel="PSNR on validation sets (dB)")
    left.legend()
    right.plot(minutes, [float(row["loss"]) for row in rows], "o-")
    right.set(xlabel="training time (min)", ylabel="mean loss since the last point")
    figure.savefig(path, dpi=110)


def save_calibration_curve(
    path: Path,
    sigma: Sequence[NDArray[Any]],
    error: Sequence[NDArray[Any]],
    scales: Mapping[str, float],
    *,
    title: str = "",
) -> None:
    """Draw error against uncertainty and reached against wanted coverage into a PNG file.

    Parameters
    ----------
    path : Path
        New PNG file.
    sigma, error : sequence of ndarray
        Uncertainty and error of every image, the same units.
    scales : mapping
        Half width of the interval in standard deviations by level.
    title : str
        Above both panels.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, (left, right) = _axes(2)
    s, e = (np.concatenate([np.ravel(a) for a in many]) for many in (sigma, error))
    parts = np.array_split(np.argsort(s), BINS)
    said = [float(np.sqrt(np.mean(np.square(s[p])))) for p in parts]
    made = [float(np.sqrt(np.mean(np.square(e[p])))) for p in parts]
    ends = [min(said + made), max(said + made)]
    left.loglog(ends, ends, "k--", label="calibrated")
    left.loglog(said, made, "o-", label=f"{BINS} bins of equal size")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    left.set(xlabel="root mean squared uncertainty", ylabel="root mean squared error")
    left.legend()
    levels = [float(level) for level in scales]
    shares = np.array(
        [[np.mean(np.abs(b) <= scales[k] * a) for a, b in zip(sigma, error, strict=True)] for k in scales]
    )
    right.plot([0, 1], [0, 1], "k--", label="wanted")
    right.plot(levels, shares.mean(1), "o-", label="mean of all images")
    right.plot(
        levels, np.sort(shares, 1)[:, : max(shares.shape[1] // 10, 1)].mean(1), "s:", label="worst tenth of images"
    )
    right.set(xlabel="level of the interval", ylabel="share of pixels inside", xlim=(0.4, 1), ylim=(0, 1))
    right.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def _axes(count: int) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(5.2 * count, 4.2), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, count)
