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
        Directions,
        contribution_directions,
        contribution_spectrum,
        effective_dimension,
        participation_ratio,
        recurring_directions,
        spectrum,
        spectrum_dimension,
        spectrum_participation,
        subspace_overlap,
        top_directions,
        unit_contribution,
    )
    from flexkd_core.losses import (
        CLASS_LOSSES,
        FEATURE_LOSSES,
        LOGIT_LOSSES,
        ChunkedLoss,
        LogitMap,
        Projector,
        RowTerm,
        binary_cross_entropy,
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
        per_label,
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
        uld,
        unit_correlation,
    )
    from flexkd_core.moments import (
        FeatureMoment,
        GradientMoment,
        feature_moment,
        gradient_moment,
    )
    from flexkd_core.pairing import matched_directions, matched_units, origin_units
    from flexkd_core.sampling import drawn_order, drawn_rows, drawn_stratified
    from flexkd_core.scoring import (
        IMPORTANCE_KINDS,
        OUTPUTS,
        Importance,
        ImportanceSum,
        importance_digest,
        layer_leaf,
        unit_importance,
    )
    from flexkd_core.selection import (
        jaccard,
        kept_share,
        pair_agreement,
        select_diverse,
        select_units,
    )
    from flexkd_core.statistics import (
        Comparison,
        CrossedMean,
        PairedDifference,
        Summary,
        almost_stochastic_order,
        compare,
        corrected,
        crossed_mean,
        holm,
        mcnemar,
        paired_difference,
        sign_flip_test,
        summarise,
    )

__all__ = [
    # 1. score: how much each teacher unit matters
    "unit_importance",
    "Importance",
    "ImportanceSum",
    "importance_digest",
    "IMPORTANCE_KINDS",
    "OUTPUTS",
    "layer_leaf",
    "drawn_rows",
    "drawn_stratified",
    "drawn_order",
    # 2. select: as many as the student has
    "select_units",
    "select_diverse",
    "jaccard",
    "pair_agreement",
    "kept_share",
    # 2b. what the output depends on, beyond single units (`geometry.kept_share` too)
    "GradientMoment",
    "FeatureMoment",
    "gradient_moment",
    "feature_moment",
    "spectrum",
    "participation_ratio",
    "effective_dimension",
    "contribution_spectrum",
    "spectrum_participation",
    "spectrum_dimension",
    "unit_contribution",
    "Directions",
    "top_directions",
    "contribution_directions",
    "subspace_overlap",
    "recurring_directions",
    # 2c. pair what was selected with the student's units
    "matched_units",
    "matched_directions",
    "origin_units",
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
    "uld",
    "squared_error",
    "token_cross_entropy",
    "binary_cross_entropy",
    "per_label",
    # 3b. large vocabularies: cut to the shared entries, kept in part, or never held at once
    "same_vocabulary",
    "top_k_logits",
    "chunked_rows_loss",
    "ChunkedLoss",
    "RowTerm",
    "LogitMap",
    # 4. compare: over seeds, over test examples, and several methods
    "summarise",
    "Summary",
    "paired_difference",
    "PairedDifference",
    "crossed_mean",
    "CrossedMean",
    "mcnemar",
    "sign_flip_test",
    "compare",
    "Comparison",
    "corrected",
    "holm",
    "almost_stochastic_order",
]

_MODULES = (
    "selection",
    "sampling",
    "pairing",
    "statistics",
    "losses",
    "moments",
    "scoring",
    "geometry",
)
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
