"""Find a model's language-model head, and verify how its logits and its next tokens are computed.

Shapes: B examples, T positions, D inputs of the head, V words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel

from ...model_info.errors import ModelError
from ...model_info.family import Family
from ..family import tried
from ..output_rows import OutputHead, OutputRows
from .head import LENGTHS, alone, padded_inputs
from .layers import LONG, OTHER_MODEL, ROWS, SHORT, inputs_of, words
from .small import make_small
from .trace import same


@dataclass(frozen=True)
class Writer:
    """A language model.

    head: name of its head's weights.
    bias: buffer that is added to its logits.
    decoding: `cached` if the next token of left-padded texts is found with a cache of keys and
        values, else `whole`: from all tokens, padded on the right.
    """

    kind: Literal["causal", "seq2seq"]
    head: str
    bias: str | None
    decoding: Literal["cached", "whole"]


def find_writer(small: Any, family: Family) -> Writer:
    """The language model of a small copy, whose other parts are known.

    Raises:
        ModelError: there is none, or what it computes is not supported.
    """
    kind: Literal["causal", "seq2seq"] = "seq2seq" if small.is_encoder_decoder else "causal"
    auto = AutoModelForSeq2SeqLM if kind == "seq2seq" else AutoModelForCausalLM
    if type(small) not in auto._model_mapping:
        raise _unsupported(small, "transformers has no language model of this architecture")
    model = make_small(auto, small)
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or head.out_features != small.vocab_size:
        raise _unsupported(small, "its output is not one linear map to the words")
    bias = _logit_bias(model, head.out_features)
    with tried(model.config, replace(family, language_model=kind, logit_bias=bias)):
        _verify_logits(model)
    if kind == "causal":
        _verify_causal(model)
    cached = _decodes(model, kind)
    if kind == "seq2seq" and not cached:
        raise _unsupported(small, "its decoder does not continue from a cache of keys and values")
    name = _name_of(model, head)
    return Writer(kind, name, bias, "cached" if cached else "whole")


def _logit_bias(model: PreTrainedModel, count: int) -> str | None:
    """A buffer beside the backbone that holds a number for each word, filled with random ones."""
    backbone = f"{model.base_model_prefix}."
    name: str
    for name, buffer in model.named_buffers():
        if not name.startswith(backbone) and tuple(buffer.shape) == (1, count):
            buffer.normal_()
            return name
    return None


def _verify_logits(model: PreTrainedModel) -> None:
    """Raise ModelError unless `OutputHead` computes the model's logits from its head's input."""
    batch = inputs_of(encoder_decoder=bool(model.config.is_encoder_decoder))
    weight = model.get_output_embeddings().weight
    with torch.no_grad():
        scale = 20 / float(model(**batch).logits.std())
        weight.mul_(scale)  # so that soft-capping, which is the identity near 0, is seen
        logits_BTV = model(**batch).logits
        with OutputRows(model) as output:
            output.rows_BT = torch.ones(logits_BTV.shape[:2], dtype=torch.bool)
            chosen_NV = model(**batch).logits
            found_NV = OutputHead(model)(output.take())
        weight.div_(scale)
    if not same(found_NV, logits_BTV.flatten(0, 1)) or not same(found_NV, chosen_NV):
        raise _unsupported(
            model.config, "its logits are not the product of its head's weights and input"
        )


def _verify_causal(model: PreTrainedModel) -> None:
    """Raise ModelError if a token's logits depend on later tokens, or on padding after them."""
    batch, changed = inputs_of(encoder_decoder=False), words(LONG)
    changed[:, -1] = words(1, seed=2)[:, 0]
    padded = padded_inputs("right")
    with torch.no_grad():
        logits_BTV = model(**batch, use_cache=False).logits
        later_BTV = model(input_ids=changed, attention_mask=batch["attention_mask"]).logits
        if not same(logits_BTV[:, :-1], later_BTV[:, :-1]):
            raise _unsupported(model.config, "it reads the whole text before each token")
        found_BTV = model(**padded, use_cache=False).logits
        for row, length in enumerate(LENGTHS):
            alone_TV = model(**alone(padded, row), use_cache=False).logits[0]
            if not same(found_BTV[row, :length], alone_TV):
                raise _unsupported(model.config, "its outputs depend on the padding of a batch")


def _decodes(model: PreTrainedModel, kind: str) -> bool:
    """Whether texts continue token by token, with a cache, as they do without one."""
    try:
        with torch.no_grad():
            return _decodes_target(model) if kind == "seq2seq" else _decodes_padded(model)
    except Exception:  # without such arguments a model raises anything
        return False


def _decodes_padded(model: PreTrainedModel) -> bool:
    right, left = padded_inputs("right"), padded_inputs("left")
    for row, length in enumerate(LENGTHS):
        left["input_ids"][row, LONG - length :] = right["input_ids"][row, :length]
    positions_BT = (left["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    output = model(**left, position_ids=positions_BT, use_cache=True, logits_to_keep=1)
    next_B1 = words(1, seed=3)
    mask_BT = torch.nn.functional.pad(left["attention_mask"], (0, 1), value=1)
    found_BV = model(
        input_ids=next_B1,
        attention_mask=mask_BT,
        position_ids=positions_BT[:, -1:] + 1,
        past_key_values=output.past_key_values,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    for row in range(ROWS):
        ids_1T = torch.cat([alone(right, row)["input_ids"], next_B1[row : row + 1]], dim=1)
        logits_TV = model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits[0]
        if not same(logits_TV[-2], output.logits[row, -1]):
            return False
        if not same(logits_TV[-1], found_BV[row]):
            return False
    return output.past_key_values is not None


def _decodes_target(model: PreTrainedModel) -> bool:
    batch = inputs_of(encoder_decoder=True)
    target_BT = batch.pop("decoder_input_ids")
    whole_BTV = model(**batch, decoder_input_ids=target_BT, use_cache=False).logits
    encoded = model.get_encoder()(**batch)
    past = None
    for place in range(SHORT):
        output = model(
            encoder_outputs=encoded,
            attention_mask=batch["attention_mask"],
            decoder_input_ids=target_BT[:, place : place + 1],
            past_key_values=past,
            use_cache=True,
        )
        past = output.past_key_values
        if not same(output.logits[:, -1], whole_BTV[:, place]):
            return False
    return past is not None


def _name_of(model: PreTrainedModel, head: torch.nn.Module) -> str:
    """Name of the weights of a model's head."""
    name: str
    for name, module in model.named_modules():
        if module is head:
            return f"{name}.weight"
    raise AssertionError("get_output_embeddings returns a module of the model")


def _unsupported(config: Any, reason: str) -> ModelError:
    return ModelError(
        f"{config.model_type} models cannot write text here: {reason}",
        OTHER_MODEL,
    )
