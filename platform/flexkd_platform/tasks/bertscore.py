"""BERTScore: how many words of a text have a word of similar meaning in another.

Shapes: P tokens of a prediction, R of a reference, D hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models.config_facts import longest_input
from .next_token import padded
from .rouge import require_references
from .sampling import evaluating


def bertscore(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layer: int = -1,
    batch_size: int = 64,
    device: torch.device,
) -> list[float]:
    """BERTScore F1 of each prediction against its best reference, in [0, 1].

    The score of a token is the largest cosine between its hidden state and one of the other text's.
    Precision is the mean over the prediction's tokens, recall over the reference's,
    F1 = 2PR / (P + R). Special tokens are neither counted nor matched; the authors' package lets
    tokens match [CLS] and [SEP], so its numbers are slightly larger. No idf weights, no rescaling
    by a baseline. A text without tokens scores 0, and so does a pair whose precision or recall is
    not positive. A text longer than the model reads is truncated. Zhang et al. 2020,
    arXiv:1904.09675, Eq. 1.

    Args:
        model: an encoder; hidden states have its dtype, cosines are fp32.
        layer: the layer whose output is compared: -1 is the last, -2 the one before, 0 the
            embeddings.

    Raises:
        ValueError: the numbers of predictions and of reference lists differ, a list is empty, or
            the layer does not exist.
    """
    require_references(predictions, references)
    count = model.config.num_hidden_layers
    if not -count - 1 <= layer <= count:
        raise ValueError(
            f"there is no layer {layer} in a model of {count}; "
            f"use 0 (embeddings) to {count}, or -1 to {-count - 1} from the end"
        )
    texts = [*predictions, *(text for several in references for text in several)]
    # Each text once, in an order that does not depend on hashes.
    texts = sorted(dict.fromkeys(texts), key=len)
    states: dict[str, Tensor] = {}
    with evaluating(model):
        for start in range(0, len(texts), batch_size):
            some = texts[start : start + batch_size]
            states |= zip(some, _unit_states(some, model, tokenizer, layer, device), strict=True)
    return [
        max(_scores(states[prediction], states[reference])[2] for reference in several)
        for prediction, several in zip(predictions, references, strict=True)
    ]


def _unit_states(
    texts: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    layer: int,
    device: torch.device,
) -> list[Tensor]:
    """Hidden states of each text's own tokens (tokens, D), of length 1, fp32 on the CPU."""
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=min(longest_input(model.config), tokenizer.model_max_length),
        return_special_tokens_mask=True,
    )
    input_ids_BT, mask_BT = padded(
        encoded["input_ids"], tokenizer.pad_token_id or 0, side="right", device=device
    )
    output = model(input_ids=input_ids_BT, attention_mask=mask_BT, output_hidden_states=True)
    hidden_BTD = normalize(output.hidden_states[layer].float(), dim=-1).cpu()
    own = [[not special for special in row] for row in encoded["special_tokens_mask"]]
    return [
        hidden_TD[: len(row)][torch.tensor(row, dtype=torch.bool)]
        for hidden_TD, row in zip(hidden_BTD, own, strict=True)
    ]


def _scores(prediction_PD: Tensor, reference_RD: Tensor) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair."""
    if not len(prediction_PD) or not len(reference_RD):
        return 0.0, 0.0, 0.0
    cosine_PR = prediction_PD @ reference_RD.T
    precision = float(cosine_PR.amax(dim=1).mean())
    recall = float(cosine_PR.amax(dim=0).mean())
    if min(precision, recall) <= 0:
        return precision, recall, 0.0
    return precision, recall, 2 * precision * recall / (precision + recall)
