"""Scores of a reconstruction against a known truth: the only code, beside training, that may see one."""

from napari_i2ipr.evaluate.score import evaluate

__all__ = ["evaluate"]
