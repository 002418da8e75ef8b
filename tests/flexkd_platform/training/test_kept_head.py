"""The output head that a cache of a teacher's outputs keeps, apart from the teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from flexkd_platform.model_info import FAMILIES
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import OutputRows, output_head
from flexkd_platform.training.teacher_signal import KeptHead, kept_head

from ..architectures import SIZES

WRITERS = [kind for kind, family in FAMILIES.items() if family.language_model]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_kept_head_gives_the_teachers_logits(kind: str, tmp_path: Path) -> None:
    both = FAMILIES[kind].encoder_decoder
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    config = AutoConfig.for_model(kind, **SIZES[kind], **special, vocab_size=20)
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(0)
        model = (AutoModelForSeq2SeqLM if both else AutoModelForCausalLM).from_config(config).eval()
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.ndim == 2:  # BART's bias is a buffer
                torch.nn.init.normal_(tensor)
        ids_BT = torch.randint(2, 20, (2, 6))
    batch = {"input_ids": ids_BT} | ({"decoder_input_ids": ids_BT[:, :4]} if both else {})
    rows_BT = torch.ones_like(batch["decoder_input_ids" if both else "input_ids"]).bool()
    with torch.no_grad():
        expected_NV = model(**batch).logits[rows_BT]
        with OutputRows(model, logits=False) as output:
            output.rows_BT = rows_BT
            model(**batch)
            hidden_ND = output.take()
    save_file(kept_head(output_head(model)), tmp_path / "head.safetensors")
    kept = KeptHead(tmp_path / "head.safetensors", torch.device("cpu"))
    torch.testing.assert_close(kept(hidden_ND), expected_NV, rtol=1e-5, atol=1e-5)
    cap = SIZES[kind].get("final_logit_softcapping")
    assert cap is None or 0.9 * cap < expected_NV.abs().max() < cap
