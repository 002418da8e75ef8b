"""Units selected anew during training: when, and from what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from flexkd_platform.artifacts import read_rows
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.tasks import decoder_start
from flexkd_platform.training.encoding import encode

from ..lab import training_of

WORLDS = [
    ("bert", "classification", [0]),
    ("gpt2", "instruction", [0]),
    ("gpt2", "instruction", ["last"]),
    ("bart", "summarization", ["encoder.0", "decoder.0"]),
    ("t5", "summarization", ["encoder.last", "decoder.last"]),
]


def importance_alone(model: Any, data: Any, rows: list[int], layer: Any) -> Any:
    """The mean over examples of |∂F/∂h|, each run by itself, its graph whole, in fp64."""
    stack, _, place = str(layer).rpartition(".")
    scores = []
    for row in rows:
        batch = data.batch([row])
        output = model(**batch.inputs, output_hidden_states=True)
        if batch.targets_BT is None:
            value, counted = output.logits[0].max(), torch.zeros(1, dtype=torch.long)
        else:
            logits_NV = output.logits[0][batch.targets_BT[0]].log_softmax(dim=1)
            value = logits_NV.gather(1, batch.labels_N[:, None]).sum()
            counted = batch.feature_masks[stack][0].nonzero()[:, 0]
        kept = getattr(output, f"{stack}_hidden_states" if stack else "hidden_states")
        hidden_1TD = kept[-1 if place == "last" else int(place) + 1]
        (gradient_1TD,) = torch.autograd.grad(value, hidden_1TD)
        scores.append(gradient_1TD[0, counted].abs().mean(dim=0).numpy())
    return np.mean(scores, axis=0)


@pytest.mark.parametrize(("architecture", "task", "layers"), WORLDS)
def test_units_change_every_k_steps_and_are_those_of_the_batch(
    world: Callable[..., Any], architecture: str, task: str, layers: list[int | str]
) -> None:
    """Of a block, and of the state after the final norm."""
    scored = str(layers[0]).rpartition(".")[2]
    lab = world(architecture, task)
    plan = lab.plan(
        "sweep.methods=[{kind: flexkd}]",
        f"score={{aggregation: batch, every: 2, layer: {scored}}}",
        "distill={batch_size: 4, epochs: 2, learning_rate: 1e-3}",
    )
    lab.share(plan)
    (trial,) = plan.trials
    assert not [role for role in trial.distill.needs if role.startswith("select")]
    teacher, tokenizer = load_teacher(trial.distill.needs["teacher"], lab.store)
    teacher = teacher.double()
    table = read_rows(lab.store.folder(trial.distill.needs["dataset"]), "train")
    start_id = decoder_start(teacher)
    data = encode(table, tokenizer, trial.distill.config.reading, decoder_start_id=start_id)

    training = training_of(trial.distill, lab.store)
    reselect, seen = training.before_step, []
    assert reselect is not None

    def watched(step: int, shares: Any) -> None:
        reselect(step, shares)
        chosen = {t.teacher: t.units.tolist() for t in training.terms if t.units is not None}
        seen.append(([row for share in shares for row in share.rows], chosen))

    training.before_step = watched  # type: ignore[assignment]
    assert len(list(training.run())) == len(seen) == 6
    for step, (rows, chosen) in enumerate(seen):
        assert list(chosen) == layers
        if step % 2:
            assert chosen == seen[step - 1][1]
            continue
        for layer, units in chosen.items():
            importance_D = importance_alone(teacher, data, rows, layer)
            expected = sorted(range(16), key=lambda unit: -importance_D[unit])[:8]
            assert units == expected, (step, layer)
    assert len({str(chosen) for _, chosen in seen}) > 1
