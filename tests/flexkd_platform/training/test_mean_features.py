"""The features of a classifier whose head reads the mean of its hidden states."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from flexkd_platform.training.hidden_states import LOGITS, HiddenStateModel

from ..architectures import SIZES

IDS = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_features_are_what_the_head_reads(pooling: Any) -> None:
    config = AutoConfig.for_model(
        "modernbert",
        **SIZES["modernbert"],
        **IDS,
        cls_token_id=0,
        sep_token_id=0,
        vocab_size=20,
        classifier_pooling=pooling,
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    ids_BT = torch.tensor([[5, 6, 7, 8], [9, 4, 0, 0]])
    inputs = {"input_ids": ids_BT, "attention_mask": (ids_BT != 0).long()}
    extractor = HiddenStateModel(model, [1, "last"])
    with torch.no_grad():
        found = extractor(inputs, None, {})
        extractor.close()
        states = model(**inputs, output_hidden_states=True).hidden_states
        for layer, state_BTD in (("1", states[2]), ("last", states[-1])):
            rows = (state_BTD[0].mean(dim=0), state_BTD[1, :2].mean(dim=0))
            expected_BD = torch.stack(rows) if pooling == "mean" else state_BTD[:, 0]
            torch.testing.assert_close(found[layer], expected_BD)
        read_BC = model.classifier(model.head(found["last"]))
    torch.testing.assert_close(read_BC, found[LOGITS])
