"""A byte-level BPE tokenizer trained on texts: it encodes any text without unknown tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from ..model_info import Family


@dataclass(frozen=True)
class Template:
    """The special tokens that an architecture expects around a text.

    single, pair: for one text and for two; a number after a colon is the segment.
    inputs: inputs of the model in addition to the token ids.
    """

    single: str
    pair: str
    inputs: tuple[str, ...] = ("attention_mask",)


_BERT = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_PLAIN = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

# In the order of the published vocabularies: MPNet's positions count from token 1, the padding.
_ROBERTA = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}

_SEGMENTED = Template(
    "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ("token_type_ids", "attention_mask")
)
_PLAIN_BERT = Template("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
_TWO_ENDS = Template("<s> $A </s>", "<s> $A </s> </s> $B </s>")
_ENDED = Template("$A </s>", "$A </s> $B </s>")

TEMPLATES: dict[str, Template] = {
    "bert": _SEGMENTED,
    "electra": _SEGMENTED,
    "albert": _SEGMENTED,
    "distilbert": _PLAIN_BERT,
    "deberta-v2": _PLAIN_BERT,
    "modernbert": _PLAIN_BERT,
    "roberta": _TWO_ENDS,
    "xlm-roberta": _TWO_ENDS,
    "mpnet": _TWO_ENDS,
    "bart": _TWO_ENDS,
    "t5": _ENDED,
    "mt5": _ENDED,
}
"""By `model_type`; other architectures have no tokens around a text."""


def template_of(model_type: str, family: Family) -> str:
    """The architecture whose special tokens and template one has: its own, or that of its kind."""
    if model_type in TEMPLATES or not family.discovered:
        return model_type
    if family.encoder_decoder:
        return "t5"
    return "distilbert" if family.head_reads == "first" else model_type


def special_tokens(model_type: str) -> dict[str, str]:
    """The special tokens of an architecture by their role."""
    template = TEMPLATES.get(model_type)
    if template in (_SEGMENTED, _PLAIN_BERT):
        return _BERT
    return _ROBERTA if model_type in ("roberta", "xlm-roberta", "mpnet") else _PLAIN


def padding_id(model_type: str) -> int:
    """The id of the padding token in a tokenizer that is trained for an architecture."""
    special = special_tokens(model_type)
    return list(dict.fromkeys(special.values())).index(special["pad_token"])


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, model_type: str, max_length: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer; the same texts in the same order give the same one.

    Args:
        texts: the training texts.
        vocab_size: the maximum number of tokens; few texts give fewer.
        model_type: the architecture, which determines special tokens and template.
        max_length: tokens to which texts are truncated if requested.
    """
    special = special_tokens(model_type)
    inner = Tokenizer(BPE(unk_token=special["unk_token"]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(dict.fromkeys(special.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    template = TEMPLATES.get(model_type)
    if template is not None:
        named = {token: inner.token_to_id(token) for token in special.values()}
        used = [(token, number) for token, number in named.items() if token in template.pair]
        inner.post_processor = processors.TemplateProcessing(
            single=template.single, pair=template.pair, special_tokens=used
        )
    inputs = ("attention_mask",) if template is None else template.inputs
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=max_length,
        model_input_names=["input_ids", *inputs],
        clean_up_tokenization_spaces=False,
        **special,
    )
