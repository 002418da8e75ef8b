"""Few labels: which rows a student reads, that no other label reaches it, and at equal steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from flexkd_platform.artifacts import read_log, read_rows
from flexkd_platform.spec import Resources
from flexkd_platform.steps import student_training
from flexkd_platform.steps.student_rows import masked, student_rows
from flexkd_platform.tasks import Batch, has_label
from flexkd_platform.training import SoloWorker
from flexkd_platform.training.micro_batch import MicroBatchOutputs

from ..altered import republish
from ..lab import train_student, training_of

ROWS = 26
FEW = ("student.labels=10", "student.unlabelled=true")
KD = "{kind: kd, beta: 0.5, lambda: 0.5}"
FLEXKD = "{kind: flexkd, beta: 0.5}"


def table_of(lab: Any) -> pa.Table:
    plan = lab.plan()
    lab.alone(plan, "dataset")
    return read_rows(lab.store.folder(lab.step(plan, "dataset")), "train")


FT = "{kind: ft}"


def trial_of(lab: Any, method: str, *overrides: str) -> Any:
    """The trial of a method; a job of fine-tuning alone has no use for unlabelled rows."""
    methods = [FT, KD, FLEXKD]
    plan = lab.plan(f"sweep.methods=[{', '.join(methods)}]", *overrides)
    lab.share(plan)
    return plan.trials[methods.index(method)]


def rows_of(lab: Any, method: str, *overrides: str) -> Any:
    return student_rows(trial_of(lab, method, *overrides).distill.config, table_of(lab))


def test_labelled_rows_are_drawn_in_proportion_and_are_the_same_for_every_method(lab: Any) -> None:
    labels = table_of(lab)["label"].to_pylist()
    of_seeds = []
    for seed in (10, 20, 30):
        found = [rows_of(lab, m, *FEW, f"sweep.seeds=[{seed}]") for m in (KD, FLEXKD, FT)]
        assert {tuple(rows.labelled) for rows in found} == {tuple(found[0].labelled)}
        drawn = Counter(labels[row] for row in found[0].labelled)
        assert len(set(found[0].labelled)) == 10
        for label, count in Counter(labels).items():
            assert abs(drawn[label] - 10 * count / ROWS) < 1
        of_seeds.append(tuple(found[0].labelled))
    assert len(set(of_seeds)) == 3


def test_a_smaller_draw_is_part_of_a_larger_one(lab: Any) -> None:
    few, more = (rows_of(lab, KD, f"student.labels={n}").labelled for n in (4, 12))
    assert set(few) < set(more)


def test_a_method_without_a_teacher_reads_labelled_rows_alone_for_as_many_steps(lab: Any) -> None:
    alone, taught = (rows_of(lab, method, *FEW) for method in (FT, KD))
    assert alone.read == alone.labelled == taught.labelled
    assert taught.read == list(range(ROWS))
    assert alone.epoch == taught.epoch == ROWS
    some = rows_of(lab, KD, "student.labels=10", "student.unlabelled=6")
    assert (len(some.read), some.epoch) == (16, 16)
    assert set(some.labelled) < set(some.read)
    trials = [trial_of(lab, method, *FEW) for method in (FT, KD)]
    for trial in trials:
        lab.run(trial)
    steps = {lab.store.manifest(trial.distill).summary["steps"] for trial in trials}
    assert steps == {8}
    assert {lab.store.manifest(t.distill).summary["labels"] for t in trials} == {10}


def test_all_rows_are_no_setting(lab: Any) -> None:
    (plain,) = lab.plan(f"sweep.methods=[{KD}]").trials
    for labels in ("all", str(ROWS)):
        (trial,) = lab.plan(f"sweep.methods=[{KD}]", f"student.labels={labels}").trials
        assert trial.hash == plain.hash
    (share,) = lab.plan(f"sweep.methods=[{KD}]", "student.labels=0.5").trials
    assert share.distill.config.rows.labels == 13
    assert share.hash != plain.hash


def test_an_axis_of_labels_is_shown_with_each_result(lab: Any) -> None:
    plan = lab.plan(f"sweep.methods=[{KD}]", "sweep.axes={student.labels: [10, 0.5]}")
    assert [trial.params["student.labels"] for trial in plan.trials] == [10, 0.5]


def test_a_table_without_the_labels_of_other_rows(lab: Any) -> None:
    table = table_of(lab)
    hidden = masked(table, [1, 4])
    labels_N = torch.tensor(hidden["label"].to_numpy())
    assert has_label(labels_N).nonzero()[:, 0].tolist() == [1, 4]
    assert labels_N[[1, 4]].tolist() == [table["label"][row].as_py() for row in (1, 4)]
    assert hidden.schema == table.schema
    numbers = table.set_column(
        table.column_names.index("label"), "label", pa.array(np.linspace(-100, 1, ROWS))
    )
    hidden_N = torch.tensor(masked(numbers, [0, 7])["label"].to_numpy())
    assert has_label(hidden_N).nonzero()[:, 0].tolist() == [0, 7]
    assert masked(table, range(ROWS)) is table


def spoiled(lab: Any, labelled: list[int]) -> None:
    """Turn the labels of all other rows around in the published data set."""
    dataset = lab.step(lab.plan(), "dataset")
    folder = lab.store.folder(dataset)
    table = pq.read_table(folder / "train.parquet")
    labels = [y if row in labelled else 1 - y for row, y in enumerate(table["label"].to_pylist())]
    place = table.column_names.index("label")
    changed = table.set_column(place, table.schema.field("label"), pa.array(labels))
    pq.write_table(changed, folder / "train.parquet")
    republish(lab.store, dataset)


@pytest.mark.parametrize(
    ("method", "score"),
    [(FT, "global"), (KD, "global"), (FLEXKD, "global"), (FLEXKD, "batch")],
)
def test_no_label_of_another_row_reaches_a_student(
    fresh: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, method: str, score: str
) -> None:
    """The same teacher, caches and draw, other labels: the same student to the last bit."""
    students = []
    for spoil in (False, True):
        lab = fresh()
        trial = trial_of(lab, method, *FEW, f"score.aggregation={score}")
        if spoil:
            # The draw itself is in proportion to the classes of all rows.
            rows = student_rows(trial.distill.config, table_of(lab))
            monkeypatch.setattr(student_training, "student_rows", lambda *_, rows=rows: rows)
            spoiled(lab, list(rows.labelled))
        list(train_student(trial.distill, lab.store))
        folder = lab.store.folder(trial.distill)
        students.append((folder / "model" / "model.safetensors").read_bytes())
    assert students[0] == students[1]


@pytest.mark.parametrize("labelled", [[], [2], [0, 1, 2, 3]])
def test_the_supervised_loss_is_the_mean_over_the_labelled_rows(
    lab: Any, labelled: list[int]
) -> None:
    trial = lab.trial("{kind: ft}", "student.labels=10")
    training = training_of(trial.distill, lab.store)
    labels_N = torch.tensor([1, 0, 0, 1])
    shown_N = torch.full((4,), -100)
    shown_N[labelled] = labels_N[labelled]
    logits_NC = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = supervised(training, logits_NC, shown_N, len(labelled))
    expected = -sum(logits_NC[row].log_softmax(0)[labels_N[row]].item() for row in labelled) / max(
        1, len(labelled)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    (gradient_NC,) = torch.autograd.grad(loss, logits_NC)
    others = [row for row in range(4) if row not in labelled]
    assert not gradient_NC[others].any()
    assert bool(gradient_NC[labelled].any()) is bool(labelled)


def supervised(training: Any, logits_NC: Any, labels_N: Any, known: int) -> Any:
    rows = list(range(4))
    batch = Batch({}, labels_N, None, {})
    counts = {"": [4], "targets": [4], "labels": [known]}
    part = MicroBatchOutputs(rows, batch, True, {"logits": logits_NC}, counts)
    return training.objective(part, SoloWorker())["loss"]


def test_micro_batches_give_the_same_training(fresh: Callable[[], Any]) -> None:
    logs = []
    for micro_batch in (None, 3):
        lab = fresh()
        trial = lab.trial(KD, *FEW)
        list(train_student(trial.distill, lab.store, Resources(micro_batch=micro_batch)))
        logs.append([e.values["train/supervised"] for e in read_log(trial.distill, lab.store)])
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)
    assert len(set(logs[0])) > 1


def test_a_warm_up_reads_the_labelled_rows(lab: Any) -> None:
    (trial,) = lab.plan(
        f"sweep.methods=[{KD}]", *FEW, "student.warm_up={epochs: 1, batch_size: 4}"
    ).trials
    warm_up = trial.distill.config.start.config
    assert (warm_up.rows.labels, warm_up.rows.unlabelled) == (10, 0)
    rows = student_rows(warm_up, table_of(lab))
    assert rows.read == rows.labelled == student_rows(trial.distill.config, table_of(lab)).labelled
    assert rows.epoch == 10


def test_numbers_are_drawn_plainly(world: Callable[[str, str], Any]) -> None:
    lab = world("bert", "regression")
    trial = lab.trial("{kind: kd}", "student.labels=8", "student.unlabelled=true")
    lab.run(trial)
    log = read_log(trial.distill, lab.store)
    assert all(np.isfinite(entry.values["train/loss"]) for entry in log)
    assert lab.store.manifest(trial.distill).summary["labels"] == 8


def test_texts_are_drawn_too(world: Callable[[str, str], Any]) -> None:
    lab = world("gpt2", "instruction")
    (trial,) = lab.plan("sweep.methods=[{kind: ft}]", "student.labels=5").trials
    lab.share(lab.plan("sweep.methods=[{kind: ft}]", "student.labels=5"))
    rows = training_of(trial.distill, lab.store).rows
    assert len(rows.read) == len(set(rows.read)) == rows.epoch == 5


def test_the_identity_says_how_many(lab: Any) -> None:
    (trial,) = lab.plan(f"sweep.methods=[{KD}]", *FEW).trials
    assert trial.distill.identity["rows"] == {"labels": 10, "unlabelled": 16}
    (plain,) = lab.plan(f"sweep.methods=[{KD}]").trials
    assert "rows" not in plain.distill.identity
