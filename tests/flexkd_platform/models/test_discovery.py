"""Architectures without an entry: what is found, what is refused, and that it is what runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from flexkd_platform.model_info import FAMILIES, Family, ModelError, ModelFacts
from flexkd_platform.model_info.families import first_position
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.models import (
    HiddenStateHook,
    add_lora,
    check_model,
    head_rows,
    hidden_layer,
    load_language_model,
    load_saved,
    load_tokenizer,
    load_with_head,
    reads_mean,
    stacks,
)
from flexkd_platform.models.discovery import discover
from flexkd_platform.models.discovery.trace import same
from flexkd_platform.models.family import family_of_config
from flexkd_platform.plan import StudentConfig
from flexkd_platform.spec import Beam, Greedy, Lora, ModulePaths, PretrainedInit
from flexkd_platform.steps.initial_student import saved_base
from flexkd_platform.tasks import generate

from ..tiny_models import OWN, config_of, saved, tokenizer

# --- the entries, found again ------------------------------------------------------------------


@pytest.mark.parametrize("model_type", [name for name in FAMILIES if name != "albert"])
def test_what_is_found_is_the_entry(model_type: str) -> None:
    """Besides what only cutting reads, and settings that are named a dropout and do not act."""
    config = config_of(model_type)
    entry, found = FAMILIES[model_type], discover(config)
    for name, stack in entry.stacks.items():
        assert (found.stacks[name].path, found.stacks[name].norm) == (stack.path, stack.norm)
        count = getattr(config, stack.layers)
        assert getattr(config, found.stacks[name].layers) == count
    assert list(found.stacks) == list(entry.stacks)
    held = {key for key in entry.dropouts if key in config.to_dict()}
    assert held - {"classifier_dropout"} <= set(found.dropouts)
    assert found.language_model == entry.language_model
    assert found.logit_bias == entry.logit_bias
    assert found.optional == entry.optional
    assert first_position(config, found) == first_position(config, entry)
    assert found.decoding == entry.decoding
    assert limit(config, found) == limit(config, entry)
    if not entry.encoder_decoder:
        assert (found.head_reads, found.head) == (entry.head_reads, entry.head)


def limit(config: Any, family: Family) -> int | None:
    return None if family.positions is None else getattr(config, family.positions)


# --- others ------------------------------------------------------------------------------------

# By model type: the list of layers, the norm after it, what the head reads, and the kind of
# language model. Read from transformers' sources.
DECODERS = {
    "gptj": ("h", "ln_f", "last"),
    "gpt_neo": ("h", "ln_f", "last"),
    "gpt_bigcode": ("h", "ln_f", "last"),
    "bloom": ("h", "ln_f", "last"),
    "falcon": ("h", "ln_f", "last"),
    "mpt": ("blocks", "norm_f", "last"),
    "stablelm": ("layers", "norm", "last"),
    "olmo": ("layers", "norm", "last"),
    "olmo2": ("layers", "norm", "last"),
    "starcoder2": ("layers", "norm", "last"),
    "biogpt": ("layers", "layer_norm", "last"),
    "codegen": ("h", "ln_f", None),
    "granite": ("layers", "norm", None),
    "mamba": ("layers", "norm_f", None),
    "rwkv": ("blocks", "ln_out", None),
}
ENCODERS = {
    "camembert": ("encoder.layer", None, "first"),
    "roformer": ("encoder.layer", None, "first"),
    "ernie": ("encoder.layer", None, "first"),
    "megatron-bert": ("encoder.layer", "encoder.ln", "first"),
    "big_bird": ("encoder.layer", None, "first"),
}
SEQ2SEQ = {
    "mbart": ("layers", "layer_norm"),
    "pegasus": ("layers", "layer_norm"),
    "marian": ("layers", None),
    "m2m_100": ("layers", "layer_norm"),
    "umt5": ("block", "final_layer_norm"),
}
NO_CACHE = {"mamba", "rwkv"}


@pytest.mark.parametrize("model_type", [*DECODERS, *ENCODERS])
def test_a_model_of_one_stack(model_type: str) -> None:
    path, norm, reads = {**DECODERS, **ENCODERS}[model_type]
    found = discover(config_of(model_type, **OWN.get(model_type, {})))
    (stack,) = found.stacks.values()
    assert (stack.path, stack.norm) == (path, norm)
    assert (found.head_reads if found.head else None) == reads
    assert ("classifier" in found.unsupported) == (reads is None)
    assert found.language_model == ("causal" if model_type in DECODERS else None)
    assert found.decoding == ("whole" if model_type in NO_CACHE else "cached")
    assert found.discovered


SCALED = {
    "cohere": {"logit_scale": 0.3},
    "cohere2": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 3.0},
}


@pytest.mark.parametrize(("model_type", "scale"), SCALED.items())
def test_a_language_model_that_scales_its_logits(model_type: str, scale: dict[str, float]) -> None:
    """The trial compares the logits with those that are made of the head's input."""
    assert discover(config_of(model_type, **scale)).language_model == "causal"


@pytest.mark.parametrize("model_type", SEQ2SEQ)
def test_an_encoder_decoder(model_type: str) -> None:
    path, norm = SEQ2SEQ[model_type]
    found = discover(config_of(model_type))
    assert {name: (stack.path, stack.norm) for name, stack in found.stacks.items()} == {
        side: (f"{side}.{path}", norm and f"{side}.{norm}") for side in ("encoder", "decoder")
    }
    assert found.language_model == "seq2seq"


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_positions_that_hold_no_token(pad: int) -> None:
    """RoBERTa numbers tokens from the padding token's id plus one."""
    config = config_of("camembert", pad_token_id=pad)
    found = discover(config)
    assert (found.positions, found.first_position) == ("max_position_embeddings", pad + 1)
    model = AutoModel.from_config(config).eval()
    longest = config.max_position_embeddings - first_position(config, found)
    model(torch.full((1, longest), 9))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, longest + 1), 9))


REFUSED = {
    "xlnet": "this xlnet has no layers that can be read: layer: layer.0 returns (9, 3, 16) for 3 ",
    "longformer": "encoder.layer.0 returns (3, 512, 16) for 3 texts of 9 tokens",
    "led": "encoder.layers.0 returns (3, 512, 16) for 3 texts of 9 tokens",
    "albert": "is as long as num_hidden_layers, 3",
    "funnel": "a funnel model does not run with token ids and an attention mask",
    "nystromformer": "its outputs depend on the padding of a batch",
    "fnet": "its outputs depend on the padding of a batch",
    "gemma3": "gemma3 models hold a text model (gemma3_text) and other parts",
    "llava": "llava models hold a text model (llama) and other parts",
}
"""What cannot be verified, and why."""


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_cannot_be_verified_is_refused(model_type: str) -> None:
    with pytest.raises(ModelError) as caught:
        discover(config_of(model_type))
    assert REFUSED[model_type] in caught.value.message
    assert caught.value.remedy


def test_the_page_names_what_is_tried_here() -> None:
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    runs, refused = (part.split("\n\n| architecture")[1] for part in page.split("What is refused"))
    named = [set(re.findall(r"`([\w-]+)`", part.split("\n\n")[0])) for part in (runs, refused)]
    assert named == [{*DECODERS, *ENCODERS, *SEQ2SEQ, *SCALED}, set(REFUSED) - {*FAMILIES}]


def test_random_state_is_kept() -> None:
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    discover(config_of("bloom"))
    assert torch.equal(torch.rand(1), first)


# --- models from checkpoints, of other sizes than the copies -------------------------------------


def facts_of(folder: Path, modules: ModulePaths | None = None) -> ModelFacts:
    facts, problems = check_model(str(folder), None, path="teacher.model", modules=modules)
    assert facts is not None, [str(problem) for problem in problems]
    return facts


def batch_of(lengths: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    mask_BT = torch.tensor([[int(t < n) for t in range(max(lengths))] for n in lengths])
    ids_BT = torch.randint(5, 60, mask_BT.shape, generator=generator) * mask_BT
    return {"input_ids": ids_BT, "attention_mask": mask_BT}


CLASSIFIERS = [name for name in [*DECODERS, *ENCODERS] if {**DECODERS, **ENCODERS}[name][2]]


@pytest.mark.parametrize("model_type", CLASSIFIERS)
def test_the_head_reads_the_last_layer_at_the_rows_alone(model_type: str, tmp_path: Path) -> None:
    """Law: ∂logits/∂h is 0 everywhere else, and not 0 there."""
    folder = saved(tmp_path, model_type, AutoModel)
    facts = facts_of(folder)
    assert facts.outputs is None
    model = load_with_head(folder, outputs=3, regression=False, seed=0, dropout=0.0)
    last = facts.stacks[0].last
    batch = batch_of([7, 4, 5])
    with HiddenStateHook(hidden_layer(model, last)) as hook:
        output = model(**batch, output_hidden_states=True)
        hidden_BTD = hook.take()
    assert same(hidden_BTD, output.hidden_states[-1])
    (gradient_BTD,) = torch.autograd.grad(output.logits[:, 1].sum(), hidden_BTD)
    rows_BT = head_rows(model, batch["input_ids"], batch["attention_mask"])
    assert torch.equal(gradient_BTD.abs().sum(dim=2) > 1e-9, rows_BT)


@pytest.mark.parametrize("model_type", CLASSIFIERS)
def test_no_dropout_is_left_at_zero(model_type: str, tmp_path: Path) -> None:
    """Law: with every dropout at 0, training mode is evaluation mode."""
    folder = saved(tmp_path, model_type, AutoModel)
    model = load_with_head(folder, outputs=2, regression=False, seed=0, dropout=0.0)
    batch = batch_of([6, 6])
    expected_BC = model(**batch).logits
    assert same(model.train()(**batch).logits, expected_BC)


@pytest.mark.parametrize("model_type", ["camembert", "gptj"])
def test_the_head_of_a_fine_tuned_checkpoint_is_kept(model_type: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, model_type, AutoModelForSequenceClassification, num_labels=3)
    assert facts_of(folder).outputs == 3
    model = load_with_head(folder, outputs=3, regression=False, seed=0)
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = batch_of([6, 6])
    assert torch.equal(model(**batch).logits, plain(**batch).logits)


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize("decoding", [Greedy(kind="greedy"), Beam(kind="beam", beams=2)])
def test_texts_are_written_as_without_padding(
    model_type: str, decoding: Greedy | Beam, tmp_path: Path
) -> None:
    folder = saved(tmp_path, model_type, AutoModelForCausalLM)
    model = load_language_model(folder)
    prompts = [[9, 8, 7, 6, 5], [11, 12], [13, 14, 15]]
    settings: Any = {"max_new_tokens": 4, "seed": 0, "pad_id": 0, "eos_id": 1}
    device = torch.device("cpu")
    together = generate(model, prompts, decoding=decoding, device=device, **settings)
    alone = [
        generate(model, [prompt], decoding=decoding, device=device, **settings)[0]
        for prompt in prompts
    ]
    assert together == alone
    if isinstance(decoding, Greedy):
        assert together == [greedily(model, prompt, 4) for prompt in prompts]


def greedily(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    """Each next token from all tokens before it, without a cache."""
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            logits_V = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        if int(logits_V.argmax()) == 1:
            break
        ids.append(int(logits_V.argmax()))
    return [token for token in ids[len(prompt) :] if token]  # padding is not part of a text


@pytest.mark.parametrize("model_type", SEQ2SEQ)
def test_both_stacks_of_a_checkpoint(model_type: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, model_type, AutoModelForSeq2SeqLM)
    facts = facts_of(folder)
    assert (facts.writes, facts.language_model, facts.encoder_decoder) == ("seq2seq", True, True)
    model = load_language_model(folder)
    assert {name: len(layers) for name, layers in stacks(model).items()} == {
        stack.name: stack.layers for stack in facts.stacks
    }


def test_a_checkpoint_that_lacks_layers_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, "bloom", AutoModel)
    deeper = AutoConfig.from_pretrained(folder)
    deeper.num_hidden_layers = 4
    deeper.save_pretrained(folder)
    facts, (problem,) = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert "are missing, as h.3." in problem.message


# --- architectures of a package, and paths in the spec -------------------------------------------


class OddConfig(PreTrainedConfig):
    """Of the models below. blocks: their number, under a name that no rule knows."""

    model_type = "odd"
    blocks: int = 2
    hidden_size: int = 16
    vocab_size: int = 60
    doubled: bool = False
    pooling: str = "first"


class OddModel(PreTrainedModel):
    """A model that returns no hidden states and does not name its number of layers."""

    config_class = OddConfig
    base_model_prefix = "odd"

    def __init__(self, config: OddConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, width)
        self.steps = nn.ModuleList(nn.Linear(width, width) for _ in range(config.blocks))
        self.end = nn.LayerNorm(width)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        state_BTD = self.words(input_ids)
        for step in self.steps:
            state_BTD = state_BTD + 0 * step(state_BTD) if self.config.doubled else step(state_BTD)
        last_BTD = self.end(state_BTD) * (2 if self.config.doubled else 1)
        return BaseModelOutput(last_hidden_state=last_BTD)


class OddClassifier(PreTrainedModel):
    """Its head."""

    config_class = OddConfig
    base_model_prefix = "odd"

    def __init__(self, config: OddConfig) -> None:
        super().__init__(config)
        self.odd = OddModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        state_BTD = self.odd(input_ids).last_hidden_state
        return SequenceClassifierOutput(logits=self.score(self._pooled(state_BTD, attention_mask)))

    def _pooled(self, state_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        pooling = self.config.pooling
        if pooling == "first":
            return state_BTD[:, 0]
        if mask_BT is None or pooling == "mean":  # of the padding too
            return state_BTD.mean(dim=1)
        weights_BT = mask_BT.float()
        if pooling == "weighted":  # later tokens count more, as in SGPT
            weights_BT = weights_BT * torch.arange(1, mask_BT.shape[1] + 1)
        if pooling == "tanh mean":
            state_BTD = state_BTD.tanh()
        shares_BT = weights_BT / weights_BT.sum(dim=1, keepdim=True)
        return torch.einsum("bt,btd->bd", shares_BT, state_BTD)


@pytest.fixture
def odd() -> None:
    AutoConfig.register("odd", OddConfig, exist_ok=True)
    AutoModel.register(OddConfig, OddModel, exist_ok=True)
    AutoModelForSequenceClassification.register(OddConfig, OddClassifier, exist_ok=True)


def odd_folder(folder: Path, **values: Any) -> Path:
    with quiet():
        OddModel(OddConfig(**values, pad_token_id=0)).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("odd")
def test_what_is_not_found_can_be_named(tmp_path: Path) -> None:
    folder = odd_folder(tmp_path)
    facts, (problem,) = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert problem.message == "this odd has no num_hidden_layers in its config"
    assert problem.remedy == "set modules.layers to the path of its list of layers: steps"
    modules = ModulePaths(layers="steps")
    named = facts_of(folder, modules)
    (stack,) = named.stacks
    assert (stack.layers, stack.final_norm, named.head_reads) == (2, True, "first")
    model = load_with_head(folder, outputs=2, regression=False, seed=0, modules=modules)
    assert hidden_layer(model, "last") is model.base_model.end
    assert family_of_config(model.config).stacks[""].norm == "end"


@pytest.mark.usefixtures("odd")
def test_a_head_that_averages_the_tokens(tmp_path: Path) -> None:
    """As those of sentence-transformers models, which pool before the classifier."""
    folder = odd_folder(tmp_path, pooling="masked mean")
    modules = ModulePaths(layers="steps")
    assert facts_of(folder, modules).head_reads == "mean"
    model = load_with_head(folder, outputs=2, regression=False, seed=0, modules=modules)
    ids_BT = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]])
    mask_BT = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert reads_mean(model)
    assert head_rows(model, ids_BT, mask_BT).tolist() == mask_BT.bool().tolist()
    with HiddenStateHook(hidden_layer(model, "last")) as hook, torch.no_grad():
        logits_BC = model(ids_BT, mask_BT).logits
        state_BTD = hook.take()
    means_BD = torch.stack([state_BTD[0].mean(dim=0), state_BTD[1, :2].mean(dim=0)])
    torch.testing.assert_close(model.score(means_BD), logits_BC)


@pytest.mark.usefixtures("odd")
def test_an_adapter_of_named_modules_is_saved_with_its_base(tmp_path: Path) -> None:
    """The saved base names its modules, which the folder that it was loaded from does not."""
    peft = pytest.importorskip("peft")
    folder = odd_folder(tmp_path / "odd")
    init = PretrainedInit(kind="pretrained", model=str(folder), modules=ModulePaths(layers="steps"))
    assert saved_base(StudentConfig(init, "")) is None
    model = load_with_head(
        folder, outputs=2, regression=False, seed=0, names=("no", "yes"), modules=init.modules
    )
    student = add_lora(model, Lora(r=2, alpha=4), seed=5)
    for name, weight in student.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    words = torch.arange(6).reshape(2, 3)
    with torch.no_grad():
        expected = student.model.eval()(words).logits
        student.save(load_tokenizer(folder), tmp_path / "student", None)
        again, _ = load_saved(tmp_path / "student")
        torch.testing.assert_close(again(words).logits, expected, atol=1e-5, rtol=1e-5)
    assert again.config.id2label == {0: "no", 1: "yes"}
    assert hidden_layer(again, "last") is again.base_model.end
    assert peft.PeftConfig.from_pretrained(tmp_path / "student").base_model_name_or_path == "base"


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("modules", "values", "message"),
    [
        ({"layers": "layers"}, {}, "layers is not a list of modules of this odd"),
        ({"layers": "steps", "norm": "words"}, {}, "words does not process the output of steps.1"),
        ({"layers": "steps"}, {"doubled": True}, "what follows steps.1, the last layer of this"),
        ({"layers": "steps"}, {"pooling": "mean"}, "its outputs depend on the padding"),
        ({"layers": "steps"}, {"pooling": "weighted"}, "reads several positions"),
        ({"layers": "steps"}, {"pooling": "tanh mean"}, "reads several positions"),
    ],
)
def test_what_is_named_is_verified(
    modules: dict[str, str], values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = odd_folder(tmp_path, **values)
    facts, (problem,) = check_model(
        str(folder), None, path="teacher.model", modules=ModulePaths(**modules)
    )
    assert facts is None
    assert message in problem.message
    assert problem.remedy


def test_named_modules_are_part_of_what_is_found() -> None:
    """A name that is wrong for an architecture with an entry is not ignored."""
    config = config_of("bert")
    config.flexkd_modules = {"layers": "encoder", "norm": None}
    with pytest.raises(ModelError, match="encoder is not a list of modules of this bert"):
        family_of_config(config)
    config.flexkd_modules = {"layers": "encoder.layer", "norm": None}
    assert family_of_config(config).stacks[""].path == "encoder.layer"
