"""A model over several devices computes what it does on one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import disk_offload
from transformers import AutoConfig, AutoModelForCausalLM

from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import HiddenStateHook, hidden_layer
from flexkd_platform.models.device_map import spread

IDS_BT = torch.arange(12).reshape(2, 6)


def tiny() -> AutoModelForCausalLM:
    config = AutoConfig.for_model(
        "gpt2", n_embd=16, n_layer=3, n_head=4, vocab_size=60, bos_token_id=1, eos_token_id=1
    )
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


def test_what_fits_on_one_device_is_moved_there_whole() -> None:
    model = tiny()
    with torch.no_grad():
        expected = model(IDS_BT).logits
        found = spread(model)(IDS_BT).logits
    assert torch.equal(found, expected)
    assert model.hf_device_map == {"": "cpu"} or set(model.hf_device_map.values()) != {"disk"}


@pytest.mark.parametrize("layer", [1, "last"])
@pytest.mark.filterwarnings("ignore")
def test_taps_work_on_layers_that_come_and_go(layer: int | str, tmp_path: Path) -> None:
    """Weights that lie elsewhere between forwards, here on disk."""
    plain, offloaded = tiny(), tiny()
    disk_offload(offloaded, str(tmp_path), execution_device=torch.device("cpu"))
    assert {p.device.type for p in offloaded.transformer.h.parameters()} == {"meta"}
    kept = []
    for model in (plain, offloaded):
        with torch.no_grad(), HiddenStateHook(hidden_layer(model, layer)) as tap:
            model(IDS_BT)
            kept.append(tap.take())
    torch.testing.assert_close(*kept)
