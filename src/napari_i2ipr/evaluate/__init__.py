"""Scores: of any reconstruction by itself, and against a known truth.

The only code, beside training, that may see a truth; `evaluate` does, nothing else here takes one.
"""

from napari_i2ipr.evaluate.quality import assess, single
from napari_i2ipr.evaluate.score import evaluate

__all__ = ["assess", "evaluate", "single"]
