"""Tasks: how texts become batches, and what outputs are worth."""

from .heads import TASKS, Head, classification_metrics, regression_metrics
from .text import Encoded, encode_texts

__all__ = [
    "TASKS",
    "Encoded",
    "Head",
    "classification_metrics",
    "encode_texts",
    "regression_metrics",
]
