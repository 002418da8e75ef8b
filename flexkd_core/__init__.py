"""The mathematics of Flex-KD and of the methods it is compared with, for use in any training loop.

Score the units of a teacher layer, select as many as the student has, distil them with a loss, and
compare methods over seeds. Depends on torch, numpy and scipy; uses neither files nor the network.

    total = ImportanceSum.empty(768)
    for batch in batches:
        importance = unit_importance(lambda: teacher(**batch).logits, last_block, rows(batch))
        total += ImportanceSum.of(importance)
    units = select_units(total.mean(), count=312)
    loss = correlation_loss(student_NS, teacher_NT[:, units])

The losses by name are in `flexkd_core.losses`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexkd_core.geometry import (
        GradientMoment,
        effective_dimension,
        participation_ratio,
        spectrum,
        top_directions,
    )
    from flexkd_core.losses import (
        CLASS_LOSSES,
        FEATURE_LOSSES,
        LOGIT_LOSSES,
        ChunkedLoss,
        Projector,
        RowTerm,
        chunked_rows_loss,
        cka_loss,
        correlation_loss,
        cosine_loss,
        forward_kl,
        gram_loss,
        jsd,
        linear_cka,
        logit_mse,
        mse_loss,
        procrustes_loss,
        register_class_loss,
        register_feature_loss,
        reverse_kl,
        same_vocabulary,
        skew_forward_kl,
        skew_reverse_kl,
        squared_error,
        token_cross_entropy,
        top_k_logits,
        tvd,
        unit_correlation,
    )
    from flexkd_core.scoring import (
        IMPORTANCE_KINDS,
        OUTPUTS,
        Importance,
        ImportanceSum,
        layer_leaf,
        unit_importance,
    )
    from flexkd_core.selection import jaccard, kept_share, select_units
    from flexkd_core.statistics import PairedDifference, Summary, paired_difference, summarise

__all__ = [
    # 1. score: how much each teacher unit matters
    "unit_importance",
    "Importance",
    "ImportanceSum",
    "IMPORTANCE_KINDS",
    "OUTPUTS",
    "layer_leaf",
    # 2. select: as many as the student has
    "select_units",
    "jaccard",
    "kept_share",
    # 2b. what the output depends on, beyond single units (`geometry.kept_share` too)
    "GradientMoment",
    "spectrum",
    "participation_ratio",
    "effective_dimension",
    "top_directions",
    # 3. distil: losses between features, then between outputs
    "FEATURE_LOSSES",
    "correlation_loss",
    "unit_correlation",
    "mse_loss",
    "cosine_loss",
    "cka_loss",
    "linear_cka",
    "procrustes_loss",
    "gram_loss",
    "Projector",
    "LOGIT_LOSSES",
    "CLASS_LOSSES",
    "register_feature_loss",
    "register_class_loss",
    "forward_kl",
    "reverse_kl",
    "jsd",
    "skew_forward_kl",
    "skew_reverse_kl",
    "tvd",
    "logit_mse",
    "squared_error",
    "token_cross_entropy",
    # 3b. large vocabularies: cut to the shared entries, kept in part, or never held at once
    "same_vocabulary",
    "top_k_logits",
    "chunked_rows_loss",
    "ChunkedLoss",
    "RowTerm",
    # 4. compare: over seeds
    "summarise",
    "Summary",
    "paired_difference",
    "PairedDifference",
]

_MODULES = ("selection", "statistics", "losses", "scoring", "geometry")
"""Names are looked up in this order, so torch is imported only with a name that needs it."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        for module in _MODULES:
            found = import_module(f"{__name__}.{module}")
            if hasattr(found, name):
                globals()[name] = getattr(found, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
