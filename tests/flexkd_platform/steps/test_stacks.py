"""Scores and caches of every architecture, against plain transformers on one example at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flexkd_platform.artifacts import read_importance, read_rows
from flexkd_platform.plan import stack_of
from flexkd_platform.steps import passes
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.store import open_store
from flexkd_platform.tasks import decoder_start
from flexkd_platform.training.encoding import encode
from flexkd_platform.training.hidden_states import HiddenStateModel, forward
from flexkd_platform.training.importance import score_batch

from ..worlds import GENERATION, MAX_LENGTH, MAX_PROMPT, MAX_RESPONSE, WORLDS

CPU = torch.device("cpu")
METHOD = "sweep.methods=[{kind: flexkd, beta: 1}]"

STACKS = {
    ("bert", ""): "bert.encoder.layer",
    ("gpt2", ""): "transformer.h",
    ("opt", ""): "model.decoder.layers",
    ("llama", ""): "model.layers",
    ("bart", "encoder"): "model.encoder.layers",
    ("bart", "decoder"): "model.decoder.layers",
    ("t5", "encoder"): "encoder.block",
    ("t5", "decoder"): "decoder.block",
}
"""Where each architecture keeps the layers of its stacks."""

NORMS = {
    ("gpt2", ""): "transformer.ln_f",
    ("opt", ""): "model.decoder.final_layer_norm",
    ("llama", ""): "model.norm",
    ("t5", "encoder"): "encoder.final_layer_norm",
    ("t5", "decoder"): "decoder.final_layer_norm",
}
"""The norm that ends a stack, where there is one."""

LAYERS = [
    (architecture, task, f"{stack}.{place}" if stack else place)
    for architecture, task in WORLDS
    for stack in (("encoder", "decoder") if task == "summarization" else ("",))
    for place in (0, 1, *(["last"] if (architecture, stack) in NORMS else []))
]


class Plain:
    """The teacher in fp64, its graph whole, run without padding on one example."""

    def __init__(self, lab: Any, architecture: str, task: str) -> None:
        step = lab.step(lab.plan(METHOD), "teacher")
        self.model, self.tokenizer = load_teacher(step, lab.store)
        self.model = self.model.double()
        self.architecture, self.task = architecture, task
        self.rows = read_rows(lab.store.folder(step.needs["dataset"]), "train").to_pylist()

    def __call__(self, row: int, layer: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`(hidden_ND, outputs_NC, gradient_ND)` of an example: hidden states and |∂F/∂h| at the
        rows that count, and what is put out at the rows that are compared.
        """
        kept = []
        stack, _, place = str(layer).rpartition(".")
        key = (self.architecture, stack)
        path = NORMS[key] if place == "last" else f"{STACKS[key]}.{place}"

        def keep(module: Any, inputs: Any, output: Any) -> None:
            kept.append(output[0] if isinstance(output, tuple) else output)

        handle = self.model.get_submodule(path).register_forward_hook(keep)
        try:
            found = self._text if self.task in GENERATION else self._label
            outputs_NC, value, rows = found(self.rows[row], stack)
        finally:
            handle.remove()
        (hidden_1TD,) = kept
        (gradient_1TD,) = torch.autograd.grad(value, hidden_1TD)
        return hidden_1TD[0][rows].detach(), outputs_NC.detach(), gradient_1TD[0][rows].abs()

    def scores(self, layer: Any) -> Any:
        """Of all examples the mean over the rows that count of |∂F/∂h|."""
        return np.stack([self(row, layer)[2].mean(dim=0).numpy() for row in range(12)])

    def _label(self, example: Mapping[str, Any], stack: str) -> tuple[Any, Any, Any]:
        batch = self.tokenizer(
            example["text"], return_tensors="pt", truncation=True, max_length=MAX_LENGTH
        )
        logits_C = self.model(**batch).logits[0]
        value = logits_C[0] if self.task == "regression" else logits_C.max()
        return logits_C[None], value, [0 if self.architecture == "bert" else -1]

    def _text(self, example: Mapping[str, Any], stack: str) -> tuple[Any, Any, Any]:
        answer = self.tokenizer(example["response"], add_special_tokens=False).input_ids
        answer = [*answer, self.tokenizer.eos_token_id][:MAX_RESPONSE]
        seq2seq = self.task == "summarization"
        text = self.tokenizer(
            example["prompt"], truncation=True, max_length=MAX_PROMPT, add_special_tokens=seq2seq
        ).input_ids
        if seq2seq:
            shifted = [self.model.config.decoder_start_token_id, *answer[:-1]]
            logits_TV = self.model(
                input_ids=torch.tensor([text]), decoder_input_ids=torch.tensor([shifted])
            ).logits[0]
            rows = range(len(text if stack == "encoder" else answer))
        else:
            logits_TV = self.model(input_ids=torch.tensor([text + answer])).logits[0]
            rows = range(len(text) - 1, len(text) + len(answer) - 1)
            logits_TV = logits_TV[list(rows)]
        logprob_TV = logits_TV - logits_TV.logsumexp(dim=1, keepdim=True)
        value = sum(logprob_TV[t, token] for t, token in enumerate(answer))
        return logits_TV, value, list(rows)


@pytest.fixture(scope="module")
def plain_of(world: Callable[..., Any]) -> Callable[[str, str], tuple[Any, Plain]]:
    """The lab of a world, its scores and caches made, and the teacher to compare with."""
    made: dict[tuple[str, str], tuple[Any, Plain]] = {}

    def of(architecture: str, task: str) -> tuple[Any, Plain]:
        if (architecture, task) not in made:
            lab = world(architecture, task)
            lab.share(lab.plan(METHOD))
            made[architecture, task] = (lab, Plain(lab, architecture, task))
        return made[architecture, task]

    return of


@pytest.mark.parametrize(("architecture", "task", "layer"), LAYERS)
def test_the_gradient_of_a_batch_is_that_of_the_full_graph_of_each_example(
    plain_of: Callable[..., Any], architecture: str, task: str, layer: Any
) -> None:
    lab, plain = plain_of(architecture, task)
    plan = lab.plan(METHOD)
    score = next(step for step in plan.shared if step.kind == "score")
    teacher = score.needs["teacher"]
    model, tokenizer = load_teacher(teacher, lab.store)
    table = read_rows(lab.store.folder(teacher.needs["dataset"]), "train")
    data = encode(table, tokenizer, teacher.config.reading, decoder_start_id=decoder_start(model))
    batch = data.batch(range(12))
    model = model.double()  # in fp32 the two differ by 3e-6, which is rounding
    importance, first = score_batch(
        HiddenStateModel(model), batch, layer, score.config.importance, CPU
    )
    expected_BD = plain.scores(layer)
    assert expected_BD.max(axis=1).min() > 1e-3
    scale = expected_BD.max()
    np.testing.assert_allclose(importance.score_BD.numpy() / scale, expected_BD / scale, atol=1e-6)
    assert importance.valid_B.all()
    assert all(parameter.grad is None for parameter in model.parameters())
    # What a cache keeps is what the same teacher puts out without any scoring, but for the last
    # bits: above the scored layer some kernels differ where there is a graph.
    with torch.no_grad():
        again = forward(HiddenStateModel(model), batch, CPU)
    for name, values in again.items():
        torch.testing.assert_close(first[name], values, rtol=1e-5, atol=1e-6)
        assert not first[name].requires_grad


@pytest.mark.parametrize(("architecture", "task"), WORLDS)
def test_published_scores_and_caches_are_those_of_each_example_alone(
    plain_of: Callable[..., Any], architecture: str, task: str
) -> None:
    lab, plain = plain_of(architecture, task)
    plan = lab.plan(METHOD)
    scores = [step for step in plan.shared if step.kind == "score"]
    texts = [row["text" if "text" in row else "prompt"] for row in plain.rows]
    limit = MAX_PROMPT if task in GENERATION else MAX_LENGTH
    assert max(len(plain.tokenizer(text).input_ids) for text in texts) > limit
    assert len(scores) == (2 if task == "summarization" else 1)
    for step in scores:
        layer = step.config.layer
        found_D = read_importance(step, lab.store)
        expected_D = plain.scores(layer).mean(axis=0)
        np.testing.assert_allclose(found_D, expected_D, rtol=1e-4, atol=1e-6 * expected_D.max())
        hidden_ND = torch.cat([plain(row, layer)[0] for row in range(12)])
        torch.testing.assert_close(
            rows_of(lab, plan, layer).double(), hidden_ND, rtol=1e-5, atol=1e-5
        )
    outputs_NC = torch.cat([plain(row, scores[-1].config.layer)[1] for row in range(12)])
    with torch.no_grad():
        kept = rows_of(lab, plan, "outputs").double()
        # Of text the head's input is kept, of which the head makes the logits.
        found_NC = kept
        if task in GENERATION:
            found_NC = plain.model.get_output_embeddings()(kept)
            if architecture == "bart":
                found_NC = found_NC + plain.model.final_logits_bias
    torch.testing.assert_close(found_NC, outputs_NC, rtol=1e-4, atol=1e-4)


def rows_of(lab: Any, plan: Any, holds: Any) -> torch.Tensor:
    """All rows of a published cache."""
    files = sorted(lab.store.folder(lab.cache(plan, holds)).glob("chunk-*"))
    assert len(files) == 3
    return torch.cat([load_file(file)["rows"] for file in files])


# --- how it is computed does not count ---------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "task"), [("gpt2", "instruction"), ("bart", "summarization")]
)
def test_neither_order_nor_size_of_the_chunks_counts(
    plain_of: Callable[..., Any], architecture: str, task: str, tmp_path: Path
) -> None:
    """The order of the chunks not to a bit; their size, which decides who is padded with whom,
    to fp32 rounding.
    """
    lab, _ = plain_of(architecture, task)
    other = type(lab)(lab.folder, open_store(str(tmp_path / "storage")), lab.text)
    plan, sized = lab.plan(METHOD), lab.plan(METHOD, "score.chunk=3")
    other.alone(plan, "dataset")
    other.alone(plan, "base", "teacher")
    for each in (plan, sized):
        (request,) = passes([step for step in each.shared if step.kind in ("score", "cache")])
        work = request.open(other.store)
        for chunk in reversed(request.missing(other.store)):
            assert not work(chunk).error
        request.publish(other.store)
    for step in (step for step in plan.shared if step.kind in ("score", "cache")):
        ours, theirs = lab.store.folder(step), other.store.folder(step)
        names = sorted(file.name for file in ours.iterdir() if file.name != "manifest.json")
        assert names
        for name in names:
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    pairs = zip(plan.shared, sized.shared, strict=True)
    for one, two in ((one, two) for one, two in pairs if one.kind in ("score", "cache")):
        assert one.hash != two.hash
        if one.kind == "score":
            assert stack_of(one.config.layer) == stack_of(two.config.layer)
            found = read_importance(two, other.store)
            np.testing.assert_allclose(found, read_importance(one, lab.store), rtol=1e-4)
        else:
            files = sorted(other.store.folder(two).glob("chunk-*"))
            assert len(files) == 4
            found_ND = torch.cat([load_file(file)["rows"] for file in files])
            kept_ND = rows_of(lab, plan, one.config.holds)
            torch.testing.assert_close(found_ND, kept_ND, rtol=1e-5, atol=1e-5)
