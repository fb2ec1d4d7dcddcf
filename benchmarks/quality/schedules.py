"""How good each classical schedule is: quality of the aligned mean against image-iterations.

Runs the presets (and any ``--try NAME=YAML`` variants) on the validation split, 24 images at alpha 3
and 8 each at alpha 2 and 4, blind, scored up to one flip and one shift. Appends every image's score
to ``schedules.csv`` as it comes, skips what is already there, and writes ``SCHEDULES.md`` from it.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

import yaml
from common import Case, data_folder, validation_cases

from napari_i2ipr import Config, reconstruct, simulate
from napari_i2ipr.config import PRESETS
from napari_i2ipr.evaluate import evaluate

HERE = Path(__file__).parent
RECORDS = HERE / "schedules.csv"
TABLE = HERE / "SCHEDULES.md"
FIELDS = ("schedule", "settings", "image", "alpha", "psnr", "psnr_flip_only", "image_iterations", "seconds")
PLAN = ((3.0, 24), (2.0, 8), (4.0, 8))
"""Noise levels and images of each."""

Record = dict[str, str]


def settings_text(config: Config) -> str:
    """The settings that a schedule is known by: the initialisation and the number of candidate sets."""
    values = config.to_dict()
    kept = {name: values[name] for name in ("initialisation", "members")}
    return yaml.safe_dump(kept, default_flow_style=True, width=10_000).strip()


def records() -> list[Record]:
    """What has been measured so far."""
    if not RECORDS.exists():
        return []
    with RECORDS.open(newline="") as file:
        return list(csv.DictReader(file))


def measure(name: str, settings: str, config: Config, case: Case, alpha: float) -> Record:
    """Simulate, reconstruct and score one image."""
    started = time.perf_counter()
    result = reconstruct(simulate(case.image, alpha=alpha, seed=1), config)
    scores = evaluate(result, case.image)
    return {
        "schedule": name,
        "settings": settings,
        "image": case.name,
        "alpha": f"{alpha:g}",
        "psnr": f"{scores['psnr']:.4f}",
        "psnr_flip_only": f"{scores['psnr_flip_only']:.4f}",
        "image_iterations": str(result.scores["image_iterations"]),
        "seconds": f"{time.perf_counter() - started:.1f}",
    }


def run(variants: dict[str, str], data: Path, limit: int | None) -> None:
    """Measure what is missing, image by image so that an interrupted run has used its time."""
    done = {(r["schedule"], r["settings"], r["image"], r["alpha"]) for r in records()}
    new = not RECORDS.exists()
    with RECORDS.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        for alpha, count in PLAN:
            for case in validation_cases(data, 0, min(count, limit or count)):
                for name, settings in variants.items():
                    if (name, settings, case.name, f"{alpha:g}") in done:
                        continue
                    values = yaml.safe_load(settings)
                    record = measure(
                        name, settings, Config.from_dict(values | {"refine": {"enabled": False}}), case, alpha
                    )
                    writer.writerow(record)
                    file.flush()
                    print(name, case.name, alpha, record["psnr"], record["seconds"], flush=True)


def shared_images(rows: list[Record], alpha: str) -> set[str]:
    """Images that every schedule measured at this noise level has."""
    images: dict[str, set[str]] = {}
    for row in rows:
        if row["alpha"] == alpha:
            images.setdefault(row["schedule"], set()).add(row["image"])
    return set.intersection(*images.values()) if images else set()


def table(variants: dict[str, str]) -> str:
    """The Markdown table: mean PSNR over the images that every schedule has, per alpha."""
    rows = [r for r in records() if variants.get(r["schedule"]) == r["settings"]]
    lines = [
        "# Schedules of the classical initialisation",
        "",
        "Mean PSNR in dB of the blind aligned mean, registered by one flip and one shift (in brackets: flip only), on",
        "centre crops of 256 x 256 px of the validation split. Made by `python benchmarks/quality/schedules.py`.",
        "",
        "| schedule | image-iterations | " + " | ".join(f"alpha {a:g}" for a, _ in PLAN) + " |",
        "|---|---|" + "---|" * len(PLAN),
    ]
    common = {f"{alpha:g}": shared_images(rows, f"{alpha:g}") for alpha, _ in PLAN}
    for name in variants:
        mine = [r for r in rows if r["schedule"] == name and r["image"] in common[r["alpha"]]]
        if not mine:
            continue
        cells = []
        for alpha in [f"{a:g}" for a, _ in PLAN]:
            part = [r for r in mine if r["alpha"] == alpha]
            if part:
                psnr = statistics.fmean(float(r["psnr"]) for r in part)
                flip = statistics.fmean(float(r["psnr_flip_only"]) for r in part)
                cells.append(f"{psnr:.2f} ({flip:.2f}), n = {len(part)}")
            else:
                cells.append("-")
        iterations = statistics.fmean(int(r["image_iterations"]) for r in mine)
        lines.append(f"| {name} | {iterations:,.0f} | " + " | ".join(cells) + " |")
    lines += ["", "Settings:", ""]
    lines += [f"- {name}: `{settings}`" for name, settings in variants.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="data folder (default: the environment variable I2IPR_DATA)")
    parser.add_argument("--limit", type=int, help="images per noise level")
    parser.add_argument("--only", nargs="*", help="presets to run (default: all)")
    parser.add_argument(
        "--try", dest="extra", action="append", default=[], metavar="NAME=YAML", help="a variant to add"
    )
    parser.add_argument("--table", action="store_true", help="only write the table from what was measured")
    options = parser.parse_args()
    names = PRESETS if options.only is None else options.only
    variants = {name: settings_text(Config.from_preset(name)) for name in names}
    for extra in options.extra:
        name, _, settings = extra.partition("=")
        variants[name] = settings_text(Config.from_yaml(settings))
    if not options.table:
        run(variants, data_folder(options.data), options.limit)
    text = table(variants)
    TABLE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
