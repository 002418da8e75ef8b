"""Whole searches: what validation chooses, what a second run does again, what is pruned."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from flexkd_platform.cli.progress import SilentView
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.job import run_job
from flexkd_platform.preflight import Preflight
from flexkd_platform.search import nothing_left
from flexkd_platform.spec import JobSpec, load_spec
from flexkd_platform.store import open_store

from .conftest import Shop
from .searches import OPTUNA, SPEC, ran

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path, tiny_world: Path) -> Shop:
    return Shop(tmp_path, SPEC.replace("WORLD", str(tiny_world)).replace("SEARCH", OPTUNA))


def test_a_search_chooses_by_the_mean_on_validation(shop: Shop) -> None:
    results = shop.run()
    assert results["job"]["status"] == "done"
    assert len(ran(results)) == 2 + 4 * 2
    search = results["search"]
    assert search["kind"] == "optuna"
    assert search["metric"] == "validation/accuracy"
    assert search["space"] == {"sweep.methods[1].alpha": {"log_uniform": [0.01, 1.0]}}
    assert {best["method"] for best in search["best"]} == {"ft", "flexkd"}
    first = search["best"][0]
    won = {key: results["winner"][key] for key in ("method", "params", "n")}
    assert won == {key: first[key] for key in won}, "validation chooses the winner too"
    assert results["winner"]["reported_by"] == "test/accuracy"
    for group in results["groups"]:
        for metric in ("test/accuracy", "test/f1", "test/matthews"):
            assert group["metrics"][metric]["noise"] == "seeds and examples", metric
            if group["versus"] is not None:
                versus = group["versus"][metric]
                assert versus["examples"] == 11
                assert versus["verdict"] == "not tested", "two seeds"
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
    # 26 examples in batches of 8 leave two for the last; said once, whatever the number of trials.
    skipped, warning = sorted(view.warnings, reverse=True)
    assert "alpha=0.5" in skipped or "α=0.5" in skipped
    assert ": 1 batch had fewer than 3 rows" in skipped
    assert warning == (
        f"{len(refused)} sampled points are invalid and were skipped; flexkd with alpha=0.0, "
        "lambda=0.0: sweep.methods[1]: every weight is 0"
    )
    for one in refused:
        assert one["method"] == "flexkd"
        assert set(one["point"].values()) == {0.0}
        assert one["reason"] == "sweep.methods[1]: every weight is 0"
    again = shop.run()
    assert again["search"]["refused"] == refused
    assert f"{len(refused)} sampled points excluded as invalid" in shop.report(again)
    assert {trial["status"] for trial in again["trials"]} == {"reused"}


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
        ("sweep.search.metric", "rougeL is not a validation metric of classification"),
        ("sweep.scheduler.metric", "nll is not a validation metric of classification"),
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


@pytest.mark.parametrize(
    ("rows", "grace", "refused"),
    [
        (["student.labels=8"], 1, False),
        (["student.labels=8"], 2, True),
        (["student.labels=8", "student.unlabelled=8"], 2, False),
        (["student.labels=8", "student.unlabelled=true"], 4, False),
    ],
)
def test_a_scheduler_counts_the_steps_of_the_student_s_rows(
    rows: list[str], grace: int, refused: bool, shop: Shop
) -> None:
    """Two epochs in batches of 8: of 8, 16 or 26 rows, which are 1, 2 or 4 steps each."""
    scheduler = f"sweep.scheduler={{kind: asha, grace_steps: {grace}}}"
    problems = found(shop, scheduler, "distill.epochs=2", *rows)
    assert [path for path, _ in problems] == ["sweep.scheduler.grace_steps"] * refused


def test_a_wrong_number_of_labels_is_one_problem_beside_a_scheduler(shop: Shop) -> None:
    ((path, _),) = found(shop, "sweep.scheduler={kind: asha, grace_steps: 1}", "student.labels=0")
    assert path == "student.labels"


def test_the_edges_of_what_is_drawn_are_looked_at(shop: Shop) -> None:
    drawn = "sweep.axes={task.max_length: {int_uniform: [8, 4000]}}"
    ((path, message),) = found(shop, drawn)
    assert path == "task.max_length"
    assert message.startswith("4000 tokens, but")


def test_a_search_ends_though_its_teacher_failed(shop: Shop) -> None:
    """Every round's trials fail with it; none waits."""
    results = shop.run("teacher.finetune.learning_rate=1e30", "teacher.finetune.epochs=3")
    assert results["job"]["status"] == "failed"
    failed = [trial for trial in results["trials"] if trial["status"] == "failed"]
    assert len(failed) == 4 * 2
    assert all("the teacher it needs failed" in trial["reason"] for trial in failed)
    assert len(ran(results)) == 2
