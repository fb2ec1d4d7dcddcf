"""Scores of the quality benchmark on disk, and the table that is written from them."""

from __future__ import annotations

import csv
import datetime as dt
import os
import platform
import statistics
import subprocess
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
RECORDS = HERE / "results.csv"
RESULTS = HERE / "RESULTS.md"

FIELDS = (
    *("row", "image", "alpha", "weights", "psnr", "ssim", "psnr_flip_only", "ssim_flip_only", "ms_ssim"),
    *("coverage_50", "coverage_68", "coverage_80", "coverage_90", "coverage_95", "mean_z2", "spearman", "ause", "ence"),
    *("sigma", "chi_ratio", "status", "seconds"),
)
KEY = ("row", "image", "alpha", "weights")
NATURAL = ("bsds500_test50", "kodak24", "prdeep_natural")
PUBLISHED = {
    "bsds500_test50": ("27.56", "29.18"),
    "kodak24": ("28.19", "30.18"),
    "prdeep_natural": ("26.70", "28.79"),
    "prdeep_unnatural": ("24.18", "26.16"),
}
"""Kaya & Oktem's stored scores of these images at alpha 3, every candidate oriented with the truth: one set, 24."""

Record = dict[str, str]


def read(records: Path) -> list[Record]:
    """All scores so far."""
    if not records.exists():
        return []
    with records.open(newline="") as file:
        return list(csv.DictReader(file))


def done(records: Path, key: dict[str, str]) -> bool:
    """Whether these scores are there."""
    return any(all(record[name] == key[name] for name in KEY) for record in read(records))


def append(records: Path, scores: dict[str, object]) -> None:
    """Add the scores of one image."""
    new = not records.exists()
    with records.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in scores.items()})


def mean(rows: list[Record], name: str, digits: int = 2) -> str:
    """Mean of a column over the images that have it."""
    values = [float(row[name]) for row in rows if row[name]]
    return f"{statistics.fmean(values):.{digits}f}" if values else "-"


def cpu() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_report(records: Path, weights: str) -> None:
    """Write ``RESULTS.md`` beside the records, from the rows of these weights and the classical ones."""
    rows = [r for r in read(records) if r["weights"] in ("", weights[:12])]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    lines = [
        "# Quality on the test images",
        "",
        f"Made by `tox run -e bench -- quality` on {dt.datetime.now(dt.UTC):%Y-%m-%d}, after commit",
        f"{commit.stdout.strip() or 'unknown'}, weights {weights[:12]}, on {cpu()}, {os.cpu_count()} cores, no GPU.",
        "256 x 256 px, blind; scores after undoing one flip and one shift per image, in brackets after the flip only.",
        "n is the number of images; per-image scores lie in `results.csv`.",
        "",
    ]
    for alpha in sorted({r["alpha"] for r in rows}, key=lambda a: (a != "3", a)):
        lines += _table([r for r in rows if r["alpha"] == alpha], alpha)
    lines += _gain([r for r in rows if r["alpha"] == "3"])
    lines += _uncertainty(rows)
    records.with_name(RESULTS.name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(rows: list[Record], alpha: str) -> list[str]:
    lines = [
        f"## alpha {alpha}",
        "",
        "| set | row | n | PSNR dB | SSIM | MS-SSIM | seconds |" + (" published PSNR |" if alpha == "3" else ""),
        "|---|---|---|---|---|---|---|" + ("---|" if alpha == "3" else ""),
    ]
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in rows:
        grouped[row["image"].split("/")[0], row["row"]].append(row)
        if row["image"].split("/")[0] in NATURAL:
            grouped["natural, all", row["row"]].append(row)
    for (name, way), part in sorted(grouped.items(), key=lambda item: item[0][0]):
        cells = [
            f"{mean(part, 'psnr')} ({mean(part, 'psnr_flip_only')})",
            f"{mean(part, 'ssim', 3)} ({mean(part, 'ssim_flip_only', 3)})",
            mean(part, "ms_ssim", 3),
            mean(part, "seconds", 1),
        ]
        if alpha == "3":
            one, many = PUBLISHED.get(name, ("", ""))
            cells.append({"one set, default": one, "ensemble of 24": many}.get(way, ""))
        lines.append(f"| {name} | {way} | {len(part)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _gain(rows: list[Record]) -> list[str]:
    """How the default compares with the classical result, image by image, and on the same images."""
    by_row: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        by_row[row["row"]][row["image"]] = float(row["psnr"])
    lines = ["## Gain at alpha 3, on the images that both have", "", "| row | over | n | mean | worst | better |"]
    lines.append("|---|---|---|---|---|---|")
    for way in ("one set, T = 1", "one set, default", "ensemble of 6", "ensemble of 24"):
        for base in ("paper preset, mean of 10", "classical (balanced)"):
            shared = sorted(by_row[way].keys() & by_row[base].keys())
            gains = [by_row[way][name] - by_row[base][name] for name in shared]
            if gains:
                better = 100 * sum(g > 0 for g in gains) / len(gains)
                cells = f"{len(gains)} | {statistics.fmean(gains):+.2f} dB | {min(gains):+.2f} dB | {better:.0f} % |"
                lines.append(f"| {way} | {base} | {cells}")
    return [*lines, ""]


_COVERAGE = ("50 %", "68 %", "80 %", "90 %", "95 %")
_OTHERS = ("z^2", "Spearman", "AUSE", "ENCE", "sigma")


def _uncertainty(rows: list[Record]) -> list[str]:
    """Coverage, squared errors and ranking of the calibrated uncertainty."""
    lines = [
        "## Uncertainty, on images that it was not fitted to",
        "",
        "Coverage of the calibrated intervals, mean of the images of their worst tenth; sigma in grey values (255);",
        "ENCE over 20 bins an image; fell back: images for which the classical mean was returned.",
        "",
        "| " + " | ".join(("row", "alpha", "n", *_COVERAGE, "worst tenth, 90 %", *_OTHERS, "fell back")) + " |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in rows:
        if row["weights"]:
            grouped[row["row"], row["alpha"]].append(row)
    for (way, alpha), part in grouped.items():
        kept = [row for row in part if row["coverage_90"]]
        worst = sorted(float(row["coverage_90"]) for row in kept)[: max(len(kept) // 10, 1)]
        cells = [mean(kept, f"coverage_{level}", 3) for level in (50, 68, 80, 90, 95)]
        cells.append(f"{statistics.fmean(worst):.3f}" if worst else "-")
        cells += [mean(kept, name) for name in ("mean_z2", "spearman", "ause", "ence", "sigma")]
        fell = sum(row["status"] == "OUT_OF_DOMAIN" for row in part)
        lines.append(f"| {way} | {alpha} | {len(part)} | " + " | ".join(cells) + f" | {fell} |")
    return lines
