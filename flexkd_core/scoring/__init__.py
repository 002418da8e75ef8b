"""Scoring: how much each unit of a teacher layer matters for the task (Eqs. 1 and 2)."""

from __future__ import annotations

from flexkd_core.scoring.importance import IMPORTANCE_KINDS, Importance, unit_importance
from flexkd_core.scoring.importance_sum import ImportanceSum, importance_digest
from flexkd_core.scoring.leaf import LayerLeaf, layer_leaf
from flexkd_core.scoring.outputs import OUTPUTS, Output

__all__ = [
    # the graph above one layer
    "layer_leaf",
    "LayerLeaf",
    # the output F whose gradient is taken
    "OUTPUTS",
    "Output",
    # scores per example, and their mean over the data
    "unit_importance",
    "IMPORTANCE_KINDS",
    "Importance",
    "ImportanceSum",
    "importance_digest",
]
