"""Whole searches: what validation chooses, what a second run does again, what is pruned."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
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
from flexkd_platform.preflight import Preflight
from flexkd_platform.results import JobFolder
from flexkd_platform.search import nothing_left
from flexkd_platform.search.rounds import Asked, Rounds, Verdict
from flexkd_platform.spec import JobSpec, load_spec
from flexkd_platform.steps import run_trial
from flexkd_platform.store import Store, open_store
from flexkd_platform.tracking import Progress, StepMetrics
from flexkd_platform.training import SoloWorker

from ..lab import train_student
from .conftest import Shop

pytestmark = pytest.mark.slow

SPEC = """\
name: searched
task: {kind: classification, max_length: 12, data: {source: files, path: WORLD/reviews}}
teacher: {model: WORLD/teacher, finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}}
student: {init: {kind: sliced, layers: 1, hidden_size: 8}}
score: {chunk: 8}
distill: {epochs: 2, batch_size: 8, learning_rate: 1e-3}
sweep:
  methods:
    - {kind: ft}
    - {kind: flexkd, alpha: {log_uniform: [0.01, 1]}}
  search: SEARCH
  seeds: [10, 20]
resources: {teacher_cpus: 1}
"""

OPTUNA = "{kind: optuna, samples: 4, batch: 2}"


@pytest.fixture
def shop(tmp_path: Path, tiny_world: Path) -> Shop:
    return Shop(tmp_path, SPEC.replace("WORLD", str(tiny_world)).replace("SEARCH", OPTUNA))


def ran(results: dict[str, Any], status: str = "done") -> list[str]:
    return [trial["hash"] for trial in results["trials"] if trial["status"] == status]


def test_a_search_chooses_by_the_mean_on_validation(shop: Shop) -> None:
    results = shop.run()
    assert results["job"]["status"] == "done"
    assert len(ran(results)) == 2 + 4 * 2
    search = results["search"]
    assert search["kind"] == "optuna"
    assert search["metric"] == "validation/accuracy"
    assert search["space"] == {"sweep.methods[1].alpha": {"log_uniform": [0.01, 1.0]}}
    assert {best["method"] for best in search["best"]} == {"ft", "flexkd"}
    for best in search["best"]:
        means = {}
        for trial in results["trials"]:
            if trial["method"] == best["method"]:
                key = json.dumps(trial["params"])
                means.setdefault(key, []).append(trial["metrics"]["validation/accuracy"])
        assert all(len(values) == 2 for values in means.values())
        given = best["metrics"]["validation/accuracy"]["mean"]
        assert given == pytest.approx(max(map(fmean, means.values())))
        assert given == pytest.approx(fmean(means[json.dumps(best["params"])]))
    plan = json.loads(
        (shop.folder / "storage/jobs" / results["job"]["id"] / "plan.json").read_text()
    )
    assert [trial["hash"] for trial in plan["trials"]] == [t["hash"] for t in results["trials"]]


def test_the_same_command_asks_for_the_same_points(shop: Shop) -> None:
    first = shop.run()
    again = shop.run()
    assert ran(again, "reused") == ran(first)
    assert again["search"] == first["search"]


def test_a_search_is_known_to_be_done_without_running_it(shop: Shop) -> None:
    store = open_store(str(shop.folder / "storage"))
    assert not nothing_left(shop.plan(), store, ())
    whole = shop.run()
    assert nothing_left(shop.plan(), store, ())
    last = whole["steps"][-1]
    assert last["kind"] == "evaluate"
    store.filesystem.delete_dir(f"{store.root}/steps/evaluate/{last['hash']}")
    store = open_store(str(shop.folder / "storage"))  # the other one remembers what it has read
    assert not nothing_left(shop.plan(), store, ()), "a trial of the last round is not measured"


def test_a_search_that_was_cut_off_goes_on(shop: Shop) -> None:
    """Without its last rounds' trials, as an interruption leaves it, it asks for them again."""
    whole = shop.run()
    store = open_store(str(shop.folder / "storage"))
    lost = [trial["hash"] for trial in whole["trials"][-3:]]
    for digest in lost:
        store.filesystem.delete_dir(f"{store.root}/steps/distill/{digest}")
    again = shop.run()
    assert ran(again) == lost
    assert [t["metrics"] for t in again["trials"]] == [t["metrics"] for t in whole["trials"]]


def test_what_later_rounds_share_is_made_in_them(shop: Shop) -> None:
    shop.text = (
        shop.text.replace("alpha: {log_uniform: [0.01, 1]}", "alpha: 0.5")
        .replace("  search:", "  axes: {score.seed: {int_uniform: [1, 1000]}}\n  search:")
        .replace("score: {", "score: {kind: random, ")
    )
    results = shop.run()
    assert results["job"]["status"] == "done"
    scores = [step for step in results["steps"] if step["kind"] == "score"]
    assert len(scores) == 4
    hashes = [step["hash"] for step in results["steps"]]
    assert len(hashes) == len(set(hashes)), "each step is told of once"


def test_a_random_search_runs_its_trials_like_a_grid(shop: Shop) -> None:
    shop.text = shop.text.replace(OPTUNA, "{kind: random, samples: 3, seed: 4}")
    results = shop.run()
    assert len(ran(results)) == 2 + 3 * 2
    assert results["search"]["metric"] == "validation/accuracy"
    assert sorted(group["n"] for group in results["groups"]) == [2, 2, 2, 2]
    assert all(group["versus"] for group in results["groups"] if group["method"] == "flexkd")


def test_the_report_shows_what_validation_chose(shop: Shop) -> None:
    page = shop.report(shop.run())
    assert "Chosen on validation" in page
    assert "4 points of each searched method, optuna" in page


# --- points that are not allowed ---------------------------------------------------------------


class Warned(SilentView):
    """Keeps what it is warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.mark.parametrize("kind", ["random, samples: 9", "optuna, samples: 9, batch: 2"])
def test_a_search_goes_on_past_points_that_are_not_allowed(kind: str, shop: Shop) -> None:
    """Two weights of 0 leave nothing of a loss; every value is right by itself."""
    alone = "alpha: [0.5, 0.0], lambda: [1.0, 0.0]"
    shop.text = shop.text.replace("alpha: {log_uniform: [0.01, 1]}", alone).replace(
        OPTUNA, f"{{kind: {kind}}}"
    )
    shop.text = shop.text.replace("  search:", "  axes: {distill.epochs: {choice: [1]}}\n  search:")
    view = Warned()
    plan = shop.plan()
    store = open_store(str(shop.folder / "storage"))
    executor = InProcessExecutor(store, plan.spec.resources)
    outcome = run_job(
        plan, shop.text, executor=executor, store=store, tracker=shop.tracker, view=view
    )
    assert outcome.status == "done"
    assert nothing_left(plan, store, ())
    folder = shop.folder / "storage/jobs" / plan.spec.id
    refused = json.loads((folder / "results.json").read_text())["search"]["refused"]
    (warning,) = view.warnings
    assert warning == (
        f"{len(refused)} drawn points are not allowed and left out; flexkd with alpha=0.0, "
        "lambda=0.0: sweep.methods[1]: every weight is 0"
    )
    for one in refused:
        assert one["method"] == "flexkd"
        assert set(one["point"].values()) == {0.0}
        assert one["reason"] == "sweep.methods[1]: every weight is 0"
    again = shop.run()
    assert again["search"]["refused"] == refused
    assert f"{len(refused)} of the points drawn are not allowed" in shop.report(again)
    assert {trial["status"] for trial in again["trials"]} == {"reused"}


# --- pruned trials -----------------------------------------------------------------------------


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


# --- what is refused ---------------------------------------------------------------------------


def found(shop: Shop, *overrides: str) -> list[tuple[str, str]]:
    file = shop.folder / "job.yaml"
    file.write_text(shop.text, encoding="utf-8")
    spec: JobSpec = load_spec(file, overrides)
    return [(problem.path, problem.message) for problem in Preflight().problems(spec)]


def test_a_metric_that_validation_has_not_is_refused(shop: Shop) -> None:
    search = "sweep.search={kind: optuna, samples: 4, metric: rougeL}"
    scheduler = "sweep.scheduler={kind: asha, grace_steps: 2, metric: nll}"
    assert found(shop) == []
    assert found(shop, search, scheduler) == [
        ("sweep.search.metric", "rougeL is not measured on the validation split of classification"),
        ("sweep.scheduler.metric", "nll is not measured on the validation split of classification"),
    ]


@pytest.mark.parametrize(
    ("grace", "epochs", "refused"), [(4, 2, False), (5, 2, True), (1, 1, True), (8, 3, False)]
)
def test_a_scheduler_that_never_stops_anything_is_refused(
    grace: int, epochs: int, refused: bool, shop: Shop
) -> None:
    """26 examples in batches of 8: 4 steps an epoch, at whose end validation is measured."""
    scheduler = f"sweep.scheduler={{kind: asha, grace_steps: {grace}}}"
    problems = found(shop, scheduler, f"distill.epochs={epochs}")
    assert [path for path, _ in problems] == ["sweep.scheduler.grace_steps"] * refused


def test_the_edges_of_what_is_drawn_are_looked_at(shop: Shop) -> None:
    drawn = "sweep.axes={task.max_length: {int_uniform: [8, 4000]}}"
    ((path, message),) = found(shop, drawn)
    assert path == "task.max_length"
    assert message.startswith("4000 tokens, but")
