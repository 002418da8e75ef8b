"""On-policy steps: which they are, and what a drawn response depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from flexkd_platform.spec import OnPolicy
from flexkd_platform.steps.student_training import StudentTraining
from flexkd_platform.training import SoloWorker
from flexkd_platform.training.loop import _gathered_counts

from ..lab import training_of as training_of_step

WORLDS = [("gpt2", "instruction"), ("t5", "summarization")]
DRAWN = "on_policy: {teacher_mix: 0.5, share: 0.5, max_new_tokens: 4}"


def training_of(lab: Any, method: str, seed: int = 10) -> StudentTraining:
    plan = lab.plan(f"sweep.methods=[{method}]", f"sweep.seeds=[{seed}]", "distill.batch_size=4")
    lab.share(plan)
    return training_of_step(plan.trials[0].distill, lab.store)


@pytest.fixture(params=WORLDS, ids=lambda which: which[0])
def lab(request: pytest.FixtureRequest, world: Callable[..., Any]) -> Any:
    return world(*request.param)


def responses(batch: Any) -> list[list[int]]:
    """The target tokens of each example."""
    counts = batch.targets_BT.sum(dim=1).tolist()
    return [part.tolist() for part in batch.labels_N.split(counts)]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (1.0, list(range(12))),
        (0.5, [0, 2, 4, 6, 8, 10]),
        (0.25, [0, 4, 8]),
        (0.75, [0, 1, 2, 4, 5, 6, 8, 9, 10]),
        (0.001, [0]),
    ],
)
def test_the_share_of_steps_is_spread_evenly(
    world: Callable[..., Any], share: float, expected: list[int]
) -> None:
    training = training_of(world("gpt2", "instruction"), f"{{kind: minillm, {DRAWN}}}")
    draw = training.draw
    assert draw is not None
    draw._settings = OnPolicy(share=share, max_new_tokens=1)
    assert [step for step in range(12) if draw(step, [0]) is not None] == expected


def test_the_training_draws_on_those_steps_alone(lab: Any) -> None:
    training = training_of(lab, f"{{kind: minillm, {DRAWN}}}")
    draw, drawn = training.draw, {}
    assert draw is not None

    def watched(step: int, rows: Any) -> Any:
        drawn[step] = draw(step, rows)
        return drawn[step]

    parts: list[Any] = []
    training.draw = watched  # type: ignore[assignment]
    training.before_step = lambda step, shares: parts.extend(shares)  # type: ignore[assignment]
    assert len(list(training.run())) == 18
    assert [step for step, batch in drawn.items() if batch is not None] == list(range(0, 18, 2))
    for step, part in enumerate(parts):
        own = [list(training.data.responses[row]) for row in part.rows]  # type: ignore[attr-defined]
        if step % 2:
            assert responses(part.batch) == own
        else:
            assert part.batch is drawn[step]
        counts = _gathered_counts([part], SoloWorker())
        assert counts.pop("targets") == counts.pop("labels") == [len(part.batch.labels_N)]
        masks = part.batch.feature_masks
        assert counts == {stack: [int(mask.sum())] for stack, mask in masks.items()}


def test_a_draw_depends_on_seed_step_and_example_alone(lab: Any) -> None:
    draw = training_of(lab, f"{{kind: minillm, {DRAWN}}}").draw
    assert draw is not None
    together = responses(draw(0, [3, 7, 1, 10]))
    assert responses(draw(0, [10, 3])) == [together[3], together[0]]
    assert [responses(draw(0, [row]))[0] for row in (3, 7, 1, 10)] == together
    torch.manual_seed(99)
    assert responses(draw(0, [3, 7, 1, 10])) == together
    assert all(0 < len(response) <= 4 for response in together)
    # An example given twice draws twice the same; other steps and seeds draw another response.
    assert responses(draw(0, [3, 3])) == [together[0]] * 2
    rows = list(range(12))
    everywhere = responses(draw(0, rows))
    assert responses(draw(2, rows)) != everywhere
    other = training_of(lab, f"{{kind: minillm, {DRAWN}}}", seed=11).draw
    assert other is not None
    other._student = draw._student  # the same model: what differs is the draw
    assert responses(other(0, rows)) != everywhere


def test_the_prompt_of_a_drawn_response_is_the_datas(lab: Any) -> None:
    training = training_of(lab, f"{{kind: minillm, {DRAWN}}}")
    assert training.draw is not None
    rows = [5, 0, 8]
    batch = training.draw(0, rows)
    assert batch is not None
    own = training.data.batch(rows)
    if "decoder_input_ids" in own.inputs:
        assert torch.equal(batch.inputs["input_ids"], own.inputs["input_ids"])
        return
    for place, row in enumerate(rows):
        prompt = list(training.data.prompts[row])  # type: ignore[attr-defined]
        assert batch.inputs["input_ids"][place, : len(prompt)].tolist() == prompt
        assert int(batch.inputs["attention_mask"][place].sum()) == len(prompt) + len(
            responses(batch)[place]
        )


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_at_an_end_of_the_mixture_one_model_draws(lab: Any, mix: float) -> None:
    training = training_of(lab, f"{{kind: minillm, {DRAWN}}}")
    draw = training.draw
    assert draw is not None
    draw._settings = draw._settings.model_copy(update={"teacher_mix": mix})
    rows = list(range(12))
    found = responses(draw(0, rows))

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("this model draws nothing")

    silent = draw._student if mix else draw._teacher
    silent.forward = forbidden
    assert responses(draw(0, rows)) == found
    draw._settings = draw._settings.model_copy(update={"teacher_mix": 0.5})
    with pytest.raises(AssertionError, match="draws nothing"):
        draw(0, rows)
