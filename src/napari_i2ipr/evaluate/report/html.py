"""The report as one HTML file that needs no other: pictures and curves are inside."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from napari_i2ipr.evaluate.report.curves import draw_curves
from napari_i2ipr.evaluate.report.pictures import draw_pictures, new_figure
from napari_i2ipr.evaluate.report.words import parameters, score_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_i2ipr.data import Measurement, Reconstruction
    from napari_i2ipr.evaluate.quality import Quality

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 1.5rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.3rem; margin: 0 0 .6rem } h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem }
.verdict { border-left: .4rem solid; padding: .4rem .8rem; background: #f6f6f6 }
.good { border-color: #2a7d3f } .care { border-color: #c98a00 } .bad { border-color: #b3261e }
img, svg { width: 100%; height: auto; display: block } table { border-collapse: collapse; width: 100% }
td { padding: .15rem .6rem .15rem 0; vertical-align: top; border-bottom: 1px solid #eee }
td:first-child { white-space: nowrap; color: #555 } .columns { display: grid; gap: 0 2rem }
@media (min-width: 50rem) { .columns { grid-template-columns: 1fr 1fr } }
@media print { body { font-size: 10px; margin: 0 } }
"""

_CLASSES = {"good": "good", "use with care": "care", "do not trust": "bad"}


def page(reconstruction: Reconstruction, quality: Quality, frame: Measurement | None, *, title: str) -> str:
    """The text of the file; see `napari_i2ipr.evaluate.report.save_report`."""
    verdict = quality.verdict
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f'<p class="verdict {_CLASSES[verdict.grade]}">{escape(verdict.summary)}</p>',
            _pictures(reconstruction, frame),
            '<div class="columns"><section><h2>What speaks for it</h2>',
            _list(verdict.good),
            "</section><section><h2>What to distrust</h2>",
            _list(verdict.distrust),
            "</section></div>",
            _curves(quality),
            "<h2>Scores</h2>",
            _table(score_rows(reconstruction, quality)),
            "<h2>Parameters</h2>",
            _table(parameters(reconstruction)),
            "</body></html>",
            "",
        ]
    )


def _pictures(reconstruction: Reconstruction, frame: Measurement | None) -> str:
    figure = new_figure((10, 8))
    draw_pictures(figure, reconstruction, frame)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130)
    inside = base64.b64encode(drawn.getvalue()).decode("ascii")
    text = "pattern, support, reconstruction and uncertainty"
    return f'<img alt="{text}" src="data:image/png;base64,{inside}">'


def _curves(quality: Quality) -> str:
    figure = new_figure((10, 3.4))
    draw_curves(figure, quality)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": "napari-i2ipr"})
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else "<p>nothing</p>"


def _table(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in rows.items())
    return f"<table>{cells}</table>"
