"""Flex-KD in the Trainer of transformers: its losses, its units, and that it leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
)

import flexkd
from flexkd_core import correlation_loss, select_units, unit_importance
from flexkd_platform.model_info.quiet import quiet

WORDS, TOKENS, ROWS = 40, 7, 12
Maker = Callable[[int, int], Any]


def bert(width: int, layers: int, classes: int = 3) -> Any:
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=16,
        max_position_embeddings=16,
        num_labels=classes,
        initializer_range=0.3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return BertForSequenceClassification(config)


def gpt2(width: int, layers: int) -> Any:
    config = GPT2Config(
        vocab_size=WORDS,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        n_positions=16,
        initializer_range=0.3,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return GPT2LMHeadModel(config)


def bart(width: int, layers: int) -> Any:
    config = BartConfig(
        vocab_size=WORDS,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=16,
        init_std=0.3,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
    )
    return BartForConditionalGeneration(config)


def examples(labels: str) -> list[dict[str, Any]]:
    """Token ids with a mask; a class, or a target for all but the first two tokens."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for row in range(ROWS):
        ids = torch.randint(5, WORDS, (TOKENS,), generator=draw).tolist()
        targets: Any = row % 3 if labels == "class" else [-100, -100, *ids[2:]]
        found.append({"input_ids": ids, "attention_mask": [1] * TOKENS, "labels": targets})
    return found


def trainer_of(
    student: Any, data: list[dict[str, Any]], folder: Path, *callbacks: Any, **arguments: Any
) -> Trainer:
    settings = {
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        **arguments,
    }
    return Trainer(
        model=student,
        args=TrainingArguments(str(folder), **settings),
        train_dataset=data,
        eval_dataset=data,
        callbacks=list(callbacks),
    )


def made(maker: Maker, seed: int, width: int, layers: int) -> Any:
    torch.manual_seed(seed)
    return maker(width, layers)


def batch_of(data: list[dict[str, Any]], rows: range = range(ROWS)) -> dict[str, Tensor]:
    return {name: torch.tensor([data[row][name] for row in rows]) for name in data[0]}


CASES = [(bert, "class"), (gpt2, "tokens"), (bart, "tokens")]


@pytest.mark.parametrize(("maker", "labels"), CASES, ids=["bert", "gpt2", "bart"])
def test_a_step_has_the_gradient_of_the_weighted_sum(
    maker: Maker, labels: str, tmp_path: Path
) -> None:
    """One step on all examples equals one on the same loss, written out with plain hooks."""
    data, units = examples(labels), [3, 1, 0, 7, 5, 2, 6, 4]
    teacher, student, other = (
        made(maker, s, w, n) for s, w, n in [(1, 16, 3), (2, 8, 2), (2, 8, 2)]
    )
    callback = flexkd.FlexKdCallback(teacher, alpha=0.3, beta=0.7, supervised=0.2, units=units)
    one_step = {"per_device_train_batch_size": ROWS, "max_steps": 1, "optim": "sgd"}
    trainer = trainer_of(student, data, tmp_path, callback, max_grad_norm=0.0, **one_step)
    with quiet():
        trainer.train()

    batch = batch_of(data)
    outputs = {
        name: model.train(name == "student")(**batch, output_hidden_states=True)
        for name, model in (("student", other), ("teacher", teacher.eval()))
    }
    hidden = {
        name: (out.decoder_hidden_states if maker is bart else out.hidden_states)[-1]
        for name, out in outputs.items()
    }
    rows_BT = torch.zeros(ROWS, TOKENS, dtype=torch.bool)
    if labels == "class":
        rows_BT[:, 0] = True
    elif maker is gpt2:
        rows_BT[:, 1:-1] = True  # position t predicts token t + 1
    else:
        rows_BT[:, 2:] = True
    feature = correlation_loss(
        hidden["student"][rows_BT], hidden["teacher"][rows_BT][:, units].detach()
    )
    logits = {
        name: (out.logits if labels == "class" else out.logits[rows_BT]).log_softmax(-1)
        for name, out in outputs.items()
    }
    theirs = logits["teacher"].detach()
    kd = (theirs.exp() * (theirs - logits["student"])).sum(-1).mean()
    loss = 0.3 * feature + 0.7 * kd + 0.2 * outputs["student"].loss
    loss.backward()
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.grad is not None:
                parameter -= 1e-2 * parameter.grad
    (log,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert log["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert log["feature_loss"] == pytest.approx(feature.item(), rel=1e-4)
    assert log["kd_loss"] == pytest.approx(kd.item(), rel=1e-4)
    for (name, ours), theirs_ in zip(student.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs_, rtol=1e-3, atol=1e-5, msg=name)


def test_units_are_those_of_largest_importance(tmp_path: Path) -> None:
    data = examples("class")
    teacher, student = made(bert, 1, 16, 3), made(bert, 2, 8, 2)
    callback = flexkd.FlexKdCallback(teacher, samples=ROWS)
    with quiet():
        trainer_of(student, data, tmp_path, callback, max_steps=1).train()
    batch = batch_of(data)
    labels = batch.pop("labels")
    rows_BT = torch.zeros(ROWS, TOKENS, dtype=torch.bool)
    rows_BT[:, 0] = True
    importance = unit_importance(
        lambda: teacher(**batch).logits, teacher.bert.encoder.layer[-1], rows_BT, labels_B=labels
    )
    assert callback.units == select_units(importance.score_BD.mean(0), 8)


def test_matched_units_are_the_same_set(tmp_path: Path) -> None:
    found = []
    for pairing in ("rank", "matched"):
        teacher, student = made(gpt2, 1, 16, 3), made(gpt2, 2, 8, 2)
        callback = flexkd.FlexKdCallback(teacher, pairing=pairing)  # type: ignore[arg-type]
        with quiet():
            trainer_of(student, examples("tokens"), tmp_path, callback, max_steps=1).train()
        assert callback.units is not None
        found.append(callback.units)
    assert sorted(found[0]) == sorted(found[1])
    assert found[0] != found[1]


def _same(sampler: SequentialSampler, *args: Any) -> SequentialSampler:
    return sampler


@pytest.mark.parametrize(
    ("maker", "labels", "supervised"), [(bert, "class", 0.0), (gpt2, "tokens", 1.0)]
)
def test_accumulated_parts_have_the_mean_of_their_feature_losses(
    maker: Maker,
    labels: str,
    supervised: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The parts of a batch count as much as the whole; transformers' own loss of classes does not:
    the Trainer counts it once for each part.
    """
    steps = []
    for parts in (1, 3):
        teacher, student = made(maker, 1, 16, 3), made(maker, 2, 8, 2)
        # The same four examples in every part: accumulating them changes nothing.
        data = examples(labels)[:4] * 3
        callback = flexkd.FlexKdCallback(
            teacher, alpha=0.5, beta=0.5, supervised=supervised, units=range(8)
        )
        arguments = {"gradient_accumulation_steps": parts, "max_steps": 1, "optim": "sgd"}
        trainer = trainer_of(student, data, tmp_path, callback, max_grad_norm=0.0, **arguments)
        in_order = SequentialSampler(data)
        monkeypatch.setattr(trainer, "_get_train_sampler", partial(_same, in_order))
        with quiet():
            trainer.train()
        steps.append([parameter.detach().clone() for parameter in student.parameters()])
    for ours, theirs in zip(*steps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_evaluation_and_later_trainings_are_the_models_own(tmp_path: Path) -> None:
    data = examples("class")
    teacher, student = made(bert, 1, 16, 3), made(bert, 2, 8, 2)
    trainer = trainer_of(student, data, tmp_path, flexkd.FlexKdCallback(teacher, units=range(8)))
    with quiet():
        trainer.train()
        evaluated = trainer.evaluate()["eval_loss"]
    with torch.no_grad():
        assert student.eval()(**batch_of(data)).loss.item() == pytest.approx(evaluated, rel=1e-4)
        trained = student.train()(**batch_of(data)).loss.item()
    assert trained == pytest.approx(evaluated, rel=1e-4), "the hooks are removed"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"alpha": 0.0}, "alpha or beta must be positive"),
        ({"alpha": -1.0, "beta": 2.0}, "must not be negative"),
        ({"loss": "correlated"}, "'correlated' is not one of correlation"),
        ({"pairing": "index"}, "'index' is not one of rank, matched"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        flexkd.FlexKdCallback(made(bert, 1, 16, 3), **settings)


def test_a_student_wider_than_its_teacher_is_refused(tmp_path: Path) -> None:
    callback = flexkd.FlexKdCallback(made(bert, 1, 8, 3))
    trainer = trainer_of(made(bert, 2, 16, 2), examples("class"), tmp_path, callback)
    with quiet(), pytest.raises(ValueError, match="no wider than the teacher"):
        trainer.train()


def test_the_helper_compares_the_mean_of_heads_that_read_it() -> None:
    student_BTS, teacher_BTD = torch.randn(5, 4, 3), torch.randn(5, 4, 6)
    rows_BT = torch.tensor([[1, 1, 0, 0]] * 5).bool()
    found = flexkd.feature_loss(student_BTS, teacher_BTD, rows_BT, [5, 0, 2], mean=True)
    teacher_NS = teacher_BTD[:, :2].mean(1)[:, [5, 0, 2]]
    torch.testing.assert_close(found, correlation_loss(student_BTS[:, :2].mean(1), teacher_NS))


def test_the_ten_lines_of_the_docs_run(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "python.md"
    code = page.read_text(encoding="utf-8").partition("```python trainer\n")[2].partition("```")[0]
    assert 0 < len([line for line in code.splitlines() if line]) <= 10
    teacher, student = made(bert, 1, 16, 3), made(bert, 2, 8, 2)
    before = {name: weight.clone() for name, weight in student.state_dict().items()}
    arguments = trainer_of(student, examples("class"), tmp_path).args
    names = {"teacher": teacher, "student": student, "arguments": arguments}
    with quiet():
        exec(code, names | {"data": examples("class")})
    assert any(not torch.equal(before[name], now) for name, now in student.state_dict().items())
