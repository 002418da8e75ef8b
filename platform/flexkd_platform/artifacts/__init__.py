"""Read what steps publish: a step reads another's artifact, and never imports its function.

A reader takes a step and an `Artifacts`, such as a `Store`. Nothing here imports torch.
"""

from .cost import COST, ModelCost, cost_of
from .label_lists import is_label_list, multi_hot, without_lists
from .label_unit import LabelUnit
from .pairs import PAIRS, UnitPairs, read_pairs, write_pairs
from .predictions import Predictions, read_predictions
from .published import Artifacts
from .responses import Response, read_responses
from .rows import SplitReader, read_rows, split_rows
from .selection import (
    read_direction_weights,
    read_directions,
    read_importance,
    read_importance_halves,
    read_moment,
    read_moments,
    read_unit_weights,
    read_units,
)
from .training_log import read_log, read_log_file, write_log

__all__ = [
    "Artifacts",
    "COST",
    "LabelUnit",
    "ModelCost",
    "PAIRS",
    "Predictions",
    "Response",
    "SplitReader",
    "UnitPairs",
    "cost_of",
    "is_label_list",
    "multi_hot",
    "without_lists",
    "read_direction_weights",
    "read_directions",
    "read_importance",
    "read_importance_halves",
    "read_log",
    "read_log_file",
    "read_moment",
    "read_moments",
    "read_pairs",
    "read_predictions",
    "read_responses",
    "read_rows",
    "read_unit_weights",
    "read_units",
    "split_rows",
    "write_log",
    "write_pairs",
]
