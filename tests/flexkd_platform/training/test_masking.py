"""What counts in a batch: response tokens, shifted; never prompts, padding or padding rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    OPTConfig,
    OPTForSequenceClassification,
)

from flexkd_platform.models import output_head
from flexkd_platform.tasks import GenerationExamples, LabelExamples
from flexkd_platform.training import SoloWorker
from flexkd_platform.training.hidden_states import LOGITS, HiddenStateModel, forward
from flexkd_platform.training.metrics import compute_metrics
from flexkd_platform.training.micro_batch import MicroBatchOutputs
from flexkd_platform.training.objective import DistillationObjective
from flexkd_platform.training.teacher_signal import OnlineSignal

from ..lab import method_of

CPU = torch.device("cpu")
END, VOCABULARY = 0, 30  # padding is the end-of-sequence token, as GPT-2's is

PROMPTS = ((5, 6, 7), (8,), (9, 10, 11, 12, 13, 14), (5, END, 6))
RESPONSES = ((15, 16, END), (END,), (17,), (18, 19, 20, 21, END))
"""One that ends, one of the end alone, one that was cut after a token, one after a prompt that
holds the end token itself."""


def drawn(model: Any, seed: int = 0) -> Any:
    """Weights large enough that every token and position counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ln" not in name and "norm" not in name:
                parameter.normal_(0, 0.3, generator=generator)
    return model.eval()


def causal(vocabulary: int = VOCABULARY, seed: int = 0) -> Any:
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=16,
        pad_token_id=END,
        eos_token_id=END,
    )
    return drawn(GPT2LMHeadModel(config), seed)


def seq2seq() -> Any:
    config = BartConfig(
        vocab_size=VOCABULARY,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=16,
        pad_token_id=END,
        eos_token_id=END,
        decoder_start_token_id=2,
    )
    model = drawn(BartForConditionalGeneration(config))
    model.final_logits_bias.normal_(generator=torch.Generator().manual_seed(3))
    return model


def texts(
    model: Any, prompts: Any = PROMPTS, responses: Any = RESPONSES, pad_id: int = END
) -> GenerationExamples:
    encoder_decoder = model.config.is_encoder_decoder
    start_id = 2 if encoder_decoder else None
    return GenerationExamples(prompts, responses, pad_id, encoder_decoder, start_id)


def part_of(extractor: HiddenStateModel, data: Any, rows: Sequence[int]) -> MicroBatchOutputs:
    """Some examples as the training loop gives them to the objective."""
    batch = data.batch(rows)
    stacks = list(batch.feature_masks) or [""]
    counts = {stack: [sum(data.feature_rows(row, stack) for row in rows)] for stack in stacks}
    counts["targets"] = [sum(data.target_rows(row) for row in rows)]
    return MicroBatchOutputs(rows, batch, True, forward(extractor, batch, CPU), counts)


def terms_of(model: Any, data: Any, rows: Sequence[int], teacher: Any = None) -> dict[str, Tensor]:
    """Supervised loss, and with a teacher the forward KL."""
    method = {"kind": "ft"} if teacher is None else {"kind": "kd", "beta": 1.0, "lambda": 1.0}
    targets = None
    if teacher is not None:
        head = output_head(teacher)
        targets = OnlineSignal(teacher, [], outputs=True, head=head, examples=None, device=CPU)
    objective = DistillationObjective(
        method_of(method), "instruction", targets, head=output_head(model)
    )
    part = part_of(HiddenStateModel(model), data, rows)
    return objective(dataclasses.replace(part, teacher=objective.ask(part)), SoloWorker())


def logits_alone(model: Any, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
    """Logits (T, V) that predict a response's tokens, of one example without padding."""
    inputs = {"input_ids": torch.tensor([[*prompt, *response]])}
    if model.config.is_encoder_decoder:
        shifted = torch.tensor([[2, *response[:-1]]])
        inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": shifted}
    with torch.no_grad():
        logits: Tensor = model(**inputs).logits[0]
    return logits if model.config.is_encoder_decoder else logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize("make", [causal, seq2seq])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [3, 1], [1], [2]])
def test_the_supervised_term_is_the_mean_over_response_tokens(make: Any, rows: list[int]) -> None:
    model = make()
    found = terms_of(model, texts(model), rows)["supervised"].item()
    total, tokens = 0.0, 0
    for row in rows:
        logits_TV = logits_alone(model, PROMPTS[row], RESPONSES[row])
        labels_T = torch.tensor(RESPONSES[row])
        total += nn.functional.cross_entropy(logits_TV, labels_T, reduction="sum").item()
        tokens += len(labels_T)
    assert found == pytest.approx(total / tokens, rel=1e-5)
    # The end is a target although padding is the same token: without it the loss is another one.
    assert tokens == sum(len(RESPONSES[row]) for row in rows)
    nll = compute_metrics(model, texts(model, *picked(rows)), "instruction", "test", CPU)["nll"]
    assert nll == pytest.approx(found, rel=1e-5)


def picked(rows: Sequence[int]) -> tuple[Any, Any]:
    return tuple(PROMPTS[row] for row in rows), tuple(RESPONSES[row] for row in rows)


@pytest.mark.parametrize("make", [causal, seq2seq])
def test_prompt_tokens_are_no_targets(make: Any) -> None:
    """Each counted row is one response token: as many as there are, and those labels alone."""
    model = make()
    data = texts(model)
    batch = data.batch(range(4))
    assert batch.labels_N.tolist() == [token for response in RESPONSES for token in response]
    assert batch.targets_BT is not None
    assert batch.targets_BT.sum(dim=1).tolist() == [len(response) for response in RESPONSES]
    # What the model puts out at a prompt's position can be anything: nothing of it is compared.
    out = forward(HiddenStateModel(model), batch, CPU)
    assert out[LOGITS].shape == (0, VOCABULARY)
    assert len(out["head input"]) == len(batch.labels_N)


@pytest.mark.parametrize("make", [causal, seq2seq])
@pytest.mark.parametrize("pad_id", [END, 29])
def test_the_padding_token_does_not_matter(make: Any, pad_id: int) -> None:
    model = make()
    # An encoder–decoder's embedding of its config's padding token is no other token's.
    found = terms_of(model, texts(model, pad_id=pad_id), range(4))["loss"].item()
    assert found == pytest.approx(terms_of(model, texts(model), range(4))["loss"].item(), rel=1e-6)


def test_gradients_of_a_batch_are_those_of_its_examples() -> None:
    """Weighted by their tokens: no token of a longer neighbour, and no padding, adds to them."""
    model = causal()
    torch.autograd.backward(terms_of(model, texts(model), range(4))["loss"])
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    tokens = sum(map(len, RESPONSES))
    for row, response in enumerate(RESPONSES):
        alone = terms_of(model, texts(model), [row])["loss"] * (len(response) / tokens)
        torch.autograd.backward(alone)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)


# --- vocabularies ------------------------------------------------------------------------------


@pytest.mark.parametrize("wider", ["student", "teacher"])
def test_padding_rows_of_a_vocabulary_do_not_count(wider: str) -> None:
    """KL on the part that both have: a row that no text uses gets no probability."""
    student = causal(VOCABULARY + 8 * (wider == "student"), seed=1)
    teacher = causal(VOCABULARY + 8 * (wider == "teacher"), seed=2)
    found = terms_of(student, texts(student), range(4), teacher)
    total, tokens = 0.0, 0
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        s, t = (
            logits_alone(model, prompt, response)[:, :VOCABULARY].double().log_softmax(dim=1)
            for model in (student, teacher)
        )
        total += float((t.exp() * (t - s)).sum())
        tokens += len(response)
    assert found["logit"].item() == pytest.approx(total / tokens, rel=1e-5)
    # The supervised term knows the student's own words alone, all of them.
    assert found["supervised"].item() == pytest.approx(
        terms_of(student, texts(student), range(4))["supervised"].item(), rel=1e-6
    )


# --- labelled texts, padded on either side -----------------------------------------------------


def gpt2_classifier() -> Any:
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=16,
        pad_token_id=END,
        eos_token_id=END,
        num_labels=3,
    )
    return drawn(GPT2ForSequenceClassification(config))


def opt_classifier() -> Any:
    config = OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        word_embed_proj_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
        max_position_embeddings=16,
        pad_token_id=END,
        eos_token_id=END,
        num_labels=3,
    )
    return drawn(OPTForSequenceClassification(config))


@pytest.mark.parametrize("classifier", [gpt2_classifier, opt_classifier])
def test_left_padding_is_right_padding(classifier: Callable[[], Any]) -> None:
    """Logits, features of every layer and the row that the head reads."""
    model = classifier()
    labels = torch.tensor([0, 2, 1, 1])
    right = LabelExamples(PROMPTS, (), labels, END, "right")
    left = dataclasses.replace(right, padding="left")
    extractor = HiddenStateModel(model, [0, 1])
    with torch.no_grad():
        one, other = (forward(extractor, data.batch(range(4)), CPU) for data in (right, left))
        alone = [model(torch.tensor([prompt]), output_hidden_states=True) for prompt in PROMPTS]
    assert set(one) == set(other) == {"0", "1", LOGITS}
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        other[LOGITS], torch.cat([found.logits for found in alone]), rtol=1e-4, atol=1e-5
    )
    last_ND = torch.stack([found.hidden_states[1][0, -1] for found in alone])
    torch.testing.assert_close(other["0"], last_ND, rtol=1e-4, atol=1e-5)
    for data in (right, left):
        objective = DistillationObjective(method_of({"kind": "ft"}), "classification")
        loss = objective(part_of(HiddenStateModel(model), data, range(4)), SoloWorker())["loss"]
        expected = nn.functional.cross_entropy(one[LOGITS], labels)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
