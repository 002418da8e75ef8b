"""Trials that are stopped early, in whole searches: what is left of them, and what they decide."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cli.progress import SilentView
from flexkd_platform.executors import (
    Advanced,
    Halving,
    OnEvent,
    Pruned,
    RungScores,
    Started,
    TrialWork,
    Work,
)
from flexkd_platform.executors.inprocess import Finished, InProcessExecutor
from flexkd_platform.job import pruned_before, run_job
from flexkd_platform.plan import Trial
from flexkd_platform.results import JobFolder
from flexkd_platform.search import nothing_left
from flexkd_platform.search.rounds import Asked, Rounds, Verdict
from flexkd_platform.steps import run_trial
from flexkd_platform.store import Store, open_store
from flexkd_platform.tracking import Progress, StepMetrics
from flexkd_platform.training import SoloWorker

from ..lab import train_student
from .conftest import Shop
from .searches import OPTUNA, SPEC, ran

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path, tiny_world: Path) -> Shop:
    return Shop(tmp_path, SPEC.replace("WORLD", str(tiny_world)).replace("SEARCH", OPTUNA))


class Pruning(InProcessExecutor):
    """Prunes the trials of one seed after two steps, and trains the others."""

    def open_sweep(
        self,
        trials: Sequence[Trial],
        on_event: OnEvent,
        halving: Halving | None = None,
        scores: RungScores | None = None,
    ) -> None:
        super().open_sweep(trials, on_event)

    def submit(self, work: Work, on_event: OnEvent) -> Finished:
        if not isinstance(work, TrialWork) or not is_pruned(work.trial):
            return super().submit(work, on_event)
        on_event(Started(work))
        values = {"train/loss": 1.0, "validation/accuracy": 0.99}
        on_event(Advanced(work, [Progress(2, 8, 8, StepMetrics(2, values))]))
        self.store.write_part(work.trial.distill, "half.bin", b"half a training")
        on_event(Pruned(work, "stopped at step 2 of 8"))
        return Finished()


def is_pruned(trial: Trial) -> bool:
    return trial.seed == 20 and trial.method == "flexkd"


def prune(
    shop: Shop, *overrides: str, executor: type[InProcessExecutor] = Pruning
) -> tuple[dict[str, Any], Path, Store]:
    plan = shop.plan(*overrides)
    store = open_store(str(shop.folder / "storage"))
    run_job(
        plan,
        shop.text,
        executor=executor(store, plan.spec.resources),
        store=store,
        tracker=shop.tracker,
        view=SilentView(),
    )
    folder = shop.folder / "storage/jobs" / plan.spec.id
    return json.loads((folder / "results.json").read_text()), folder, store


@pytest.fixture
def pruned(shop: Shop) -> Shop:
    shop.text = shop.text.replace("alpha: {log_uniform: [0.01, 1]}", "alpha: 0.5").replace(
        f"  search: {OPTUNA}\n", "  scheduler: {kind: asha, grace_steps: 2}\n"
    )
    return shop


def test_a_pruned_trial_is_in_no_mean_and_leaves_nothing(pruned: Shop) -> None:
    results, folder, store = prune(pruned)
    assert results["job"]["status"] == "done", "to prune is no failure"
    (trial,) = (t for t in results["trials"] if t["status"] == "pruned")
    assert (trial["method"], trial["seed"], trial["metrics"]) == ("flexkd", 20, {})
    assert trial["reason"] == "stopped at step 2 of 8"
    by_method = {group["method"]: group for group in results["groups"]}
    assert (by_method["flexkd"]["n"], by_method["flexkd"]["pruned"]) == (1, 1)
    assert (by_method["ft"]["n"], by_method["ft"]["pruned"]) == (2, 0)
    assert by_method["flexkd"]["versus"]["test/accuracy"]["n"] == 1
    assert [group["method"] for group in results["groups"]] == ["ft", "flexkd"]
    assert trial["hash"] not in {step["hash"] for step in results["steps"]}
    (planned,) = (t for t in pruned.plan().trials if t.hash == trial["hash"])
    assert store.parts(planned.distill) == set()
    events = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    (told,) = (e for e in events if e.get("hash") == trial["hash"] and e["event"] == "trial")
    assert told["status"] == "pruned"
    (run,) = (r for r in pruned.tracker.trials() if r.hash == trial["hash"])
    assert run.status == "pruned"


class Interrupting(Pruning):
    """Is interrupted before the sweep is closed, all trials of which have ended."""

    def close_sweep(self) -> None:
        raise KeyboardInterrupt


def test_what_a_pruned_trial_left_when_the_job_was_interrupted_is_gone_after_the_next(
    pruned: Shop,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prune(pruned, executor=Interrupting)
    results, _, store = prune(pruned)
    (cut,) = ran(results, "pruned")
    (planned,) = (trial for trial in pruned.plan().trials if trial.hash == cut)
    assert store.parts(planned.distill) == set()


class Comparing(Pruning):
    """Keeps the scores that it is to compare the trials of each round with."""

    given: list[RungScores]

    def open_sweep(
        self,
        trials: Sequence[Trial],
        on_event: OnEvent,
        halving: Halving | None = None,
        scores: RungScores | None = None,
    ) -> None:
        assert scores is not None
        assert not scores.keys() & {trial.hash for trial in trials}
        self.given.append(scores)
        super().open_sweep(trials, on_event)


def test_every_trial_before_is_compared_with(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of earlier rounds; and where the job goes on, those that were there, however they
    ended."""
    shop.text = shop.text.replace("  seeds:", "  scheduler: {kind: asha, grace_steps: 2}\n  seeds:")
    monkeypatch.setattr(Comparing, "given", [], raising=False)
    results, _, store = prune(shop, executor=Comparing)
    first, second = Comparing.given
    assert first == {}
    early = results["trials"][:6]
    assert second.keys() == {trial["hash"] for trial in early}
    for trial in early:
        # 26 examples in batches of 8, two epochs: measured at steps 4 and 8, the end.
        assert [step for step, _ in second[trial["hash"]]] == [
            2 if trial["status"] == "pruned" else 4
        ]
    (cut, *_) = (t["hash"] for t in early if t["status"] == "pruned")
    assert second[cut] == [(2, 0.99)]

    last = results["trials"][-2]["hash"]  # of the last round, and not pruned
    store.filesystem.delete_dir(f"{store.root}/steps/distill/{last}")
    for _ in range(2):  # it is told again in a third run: what a run has read it has written too
        Comparing.given.clear()
        prune(shop, executor=Comparing)
        (again,) = Comparing.given
        assert {digest: again[digest] for digest in second} == second
        assert again.keys() == {trial["hash"] for trial in results["trials"]} - {last}
        store.filesystem.delete_dir(f"{store.root}/steps/distill/{last}")


def test_what_was_pruned_stays_so_until_the_spec_changes(pruned: Shop) -> None:
    first, _, _ = prune(pruned)
    again, folder, store = prune(pruned)
    assert pruned_before(JobFolder(store, folder.name)).keys() == set(ran(again, "pruned"))
    assert [t["status"] for t in again["trials"]] == ["reused", "reused", "reused", "pruned"]
    (cut,) = ran(again, "pruned")
    assert nothing_left(pruned.plan(), store, [cut])
    assert not nothing_left(pruned.plan(), store, [])
    assert again["groups"] == first["groups"]
    full, _, _ = prune(pruned, "sweep.scheduler={kind: none}", executor=InProcessExecutor)
    assert sorted(t["status"] for t in full["trials"]) == ["done", "reused", "reused", "reused"]


class Late(Pruning):
    """The workers of a trial that is stopped come to its end before they are."""

    def submit(self, work: Work, on_event: OnEvent) -> Finished:
        if isinstance(work, TrialWork) and is_pruned(work.trial):
            self.stopped.append(work.trial)
        return super().submit(work, on_event)

    def close_sweep(self) -> None:
        for trial in self.stopped:
            worker = SoloWorker()
            list(run_trial(trial.distill, trial.evaluate, self.store, worker, self.resources))

    @cached_property
    def stopped(self) -> list[Trial]:
        return []


def test_who_came_to_the_end_before_it_was_stopped_has_finished(pruned: Shop) -> None:
    """Or the same command would find its student, and tell another story."""
    first, folder, store = prune(pruned, executor=Late)
    assert [t["status"] for t in first["trials"]] == ["done"] * 4
    assert pruned_before(JobFolder(store, folder.name)) == {}
    assert {run.status for run in pruned.tracker.trials()} == {"done"}
    again, _, _ = prune(pruned, executor=Late)
    assert again["groups"] == first["groups"]
    assert all(group["pruned"] == 0 for group in first["groups"])


class Halfway(Pruning):
    """The workers of a trial that is stopped have put its student away, and not measured it."""

    def submit(self, work: Work, on_event: OnEvent) -> Finished:
        if isinstance(work, TrialWork) and is_pruned(work.trial):
            list(train_student(work.trial.distill, self.store, self.resources))
        return super().submit(work, on_event)


def test_a_trial_stopped_before_its_test_is_pruned_like_any_other(pruned: Shop) -> None:
    """Its student lies in the storage, where it was measured on validation; it was not chosen."""
    first, folder, store = prune(pruned, executor=Halfway)
    (trial,) = (t for t in first["trials"] if t["status"] == "pruned")
    assert (trial["metrics"], trial["seconds"]) == ({}, 0)
    (planned,) = (t for t in pruned.plan().trials if t.hash == trial["hash"])
    assert store.has(planned.distill)
    (run,) = (r for r in pruned.tracker.trials() if r.hash == trial["hash"])
    assert (run.status, run.metrics) == ("pruned", {})
    assert nothing_left(pruned.plan(), store, pruned_before(JobFolder(store, folder.name)))
    again, _, _ = prune(pruned, executor=Halfway)
    assert [t["status"] for t in again["trials"]] == ["reused", "reused", "reused", "pruned"]
    assert again["trials"][-1] == trial
    assert not store.has(planned.evaluate)
    assert again["groups"] == first["groups"]


def test_what_optuna_is_told_of_a_pruned_trial_depends_on_no_student(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a search that is looked at would ask for other points than the one that ran."""
    told: list[list[Verdict]] = []

    def tell(rounds: Rounds, verdicts: Iterable[tuple[Asked, Verdict]]) -> None:
        pairs = list(verdicts)
        told.append([verdict for _, verdict in pairs])
        real(rounds, pairs)

    real = Rounds.tell
    monkeypatch.setattr(Rounds, "tell", tell)
    shop.text = shop.text.replace("  seeds:", "  scheduler: {kind: asha, grace_steps: 2}\n  seeds:")
    _, folder, store = prune(shop, executor=Halfway)
    ran_with = list(told)
    assert ran_with == [["pruned", "pruned"]] * 2
    told.clear()
    assert nothing_left(shop.plan(), store, pruned_before(JobFolder(store, folder.name)))
    assert told == ran_with


def test_a_pruned_trial_that_another_job_finished_is_reused(pruned: Shop) -> None:
    prune(pruned)
    prune(pruned, "sweep.scheduler={kind: none}", executor=InProcessExecutor)
    again, _, _ = prune(pruned)
    assert [t["status"] for t in again["trials"]] == ["reused"] * 4


def test_the_report_and_the_page_say_what_was_pruned(pruned: Shop) -> None:
    results, _, _ = prune(pruned)
    page = pruned.report(results)
    assert "Pruned trials" in page
    assert "stopped at step 2 of 8" in page
    assert "1 (1 pruned)" in page
