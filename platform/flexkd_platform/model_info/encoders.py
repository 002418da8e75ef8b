"""Encoders: the architectures that read a text in both directions and classify it."""

from __future__ import annotations

from dataclasses import replace

from .family import Family, Stack

_BERT_LAYERS = Stack("encoder.layer", inner="intermediate_size")
_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")

_ROBERTA = Family(
    stacks={"": _BERT_LAYERS},
    head_reads="first",
    head="classifier.out_proj.weight",
    dropouts=(*_BERT_DROPOUTS, "classifier_dropout"),
    # The backbone alone has one, a classifier has none.
    optional=("pooler.",),
    first_position="pad",
)

ENCODERS: dict[str, Family] = {
    "bert": Family(
        stacks={"": _BERT_LAYERS},
        head_reads="first",
        head="classifier.weight",
        dropouts=(*_BERT_DROPOUTS, "classifier_dropout"),
        # Masked-language-model checkpoints come without one.
        optional=("pooler.",),
    ),
    "distilbert": Family(
        stacks={"": Stack("transformer.layer", inner="hidden_dim")},
        head_reads="first",
        head="classifier.weight",
        dropouts=("dropout", "attention_dropout", "seq_classif_dropout"),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "deberta-v2": Family(
        stacks={"": replace(_BERT_LAYERS, after_first=("encoder.conv", "conv_kernel_size"))},
        head_reads="first",
        head="classifier.weight",
        dropouts=(*_BERT_DROPOUTS, "pooler_dropout", "cls_dropout"),
        embedding_size="embedding_size",
        hidden_sizes=("pooler_hidden_size",),
        settings=(
            "cls_dropout",
            "conv_act",
            "conv_kernel_size",
            "embedding_size",
            "norm_rel_ebd",
            "position_buckets",
            "share_att_key",
        ),
    ),
    "electra": Family(
        stacks={"": _BERT_LAYERS},
        head_reads="first",
        head="classifier.out_proj.weight",
        dropouts=(*_BERT_DROPOUTS, "classifier_dropout"),
        embedding_size="embedding_size",
    ),
    "albert": Family(
        stacks={
            "": Stack(
                "encoder.albert_layer_groups",
                inner="intermediate_size",
                groups="num_hidden_groups",
            )
        },
        head_reads="first",
        head="classifier.weight",
        dropouts=(*_BERT_DROPOUTS, "classifier_dropout_prob"),
        optional=("pooler.",),
        embedding_size="embedding_size",
        not_cut="its layers share their weights, so there are none to choose from",
    ),
    "mpnet": Family(
        stacks={"": _BERT_LAYERS},
        head_reads="first",
        head="classifier.out_proj.weight",
        dropouts=_BERT_DROPOUTS,
        optional=("pooler.",),
        # The padding token of its positions is 1, whatever the config says.
        first_position=2,
    ),
    "modernbert": Family(
        stacks={"": Stack("layers", inner="intermediate_size", norm="final_norm")},
        head_reads="first",
        head="classifier.weight",
        dropouts=(
            "attention_dropout",
            "embedding_dropout",
            "mlp_dropout",
            "classifier_dropout",
        ),
        per_layer=("layer_types",),
        pooling="classifier_pooling",
        # Shared with the head of masked language modelling.
        pretrained_head=("head.",),
    ),
}
"""By `model_type`."""
