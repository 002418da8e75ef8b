"""A kind of step of another package: one module, and nothing of ours is edited."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.plan import KINDS, StepKind
from flexkd_platform.spec import Resources
from flexkd_platform.steps import RUN, register_step

MODULE = '''
"""Counts the words of the training texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from flexkd_platform.plan import DatasetConfig, Step, StepConfig, StepKind
from flexkd_platform.artifacts import Artifacts, read_rows
from flexkd_platform.steps import Output, RunContext, register_step
from flexkd_platform.tracking import Progress

KIND = StepKind("count_words", 1, "word count", "task", lambda summary, metric="": f"{summary}")


@dataclass(frozen=True)
class CountConfig(StepConfig):
    kind: ClassVar = KIND
    longer_than: int
    dataset: Step[DatasetConfig]

    def to_identity(self) -> dict[str, Any]:
        return {"longer_than": self.longer_than}

    def needs(self) -> dict[str, Step]:
        return {"dataset": self.dataset}


def run(
    config: CountConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    texts = read_rows(inputs.folder(config.dataset), "train")["text"].to_pylist()
    words = [word for text in texts for word in text.split() if len(word) > config.longer_than]
    with out.publish() as draft:
        (draft.folder / "words.json").write_text(json.dumps(words))
        draft.summary["words"] = len(words)
    yield Progress(len(texts), len(texts))


register_step(KIND, run)
'''


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, on the path of this process and forgotten after the test."""
    (tmp_path / "team_steps.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("team_steps")
    del sys.modules["team_steps"], KINDS["count_words"], RUN["count_words"]


def expected(lab: Any) -> list[str]:
    lines = (lab.folder / "reviews" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [word for line in lines for word in json.loads(line)["text"].split() if len(word) > 2]


def test_a_plan_with_it_runs_in_this_process(
    fresh: Callable[[], Any], counting: ModuleType
) -> None:
    lab = fresh()
    known = lab.plan()
    dataset = known.trials[0].distill.config.dataset
    plan = replace(known, extra=(counting.Step(counting.CountConfig(2, dataset)),))
    executor, seen = InProcessExecutor(lab.store, Resources()), []
    (step,) = plan.extra
    assert step in plan.shared
    for each in (*step.upstream(), step):
        executor.run(each, lambda progress: seen.append(progress.done))
    assert seen == [len((lab.folder / "reviews" / "train.jsonl").read_text().splitlines())]
    found = json.loads(lab.store.file(step, "words.json").read_text())
    assert found == expected(lab) != []
    manifest = lab.store.manifest(step)
    assert manifest.kind == "count_words"
    assert manifest.identity == {"longer_than": 2}
    assert manifest.needs == {"dataset": dataset.hash}
    assert KINDS[step.kind].summary_line(manifest.summary) == f"{{'words': {len(found)}}}"
    assert counting.Step(counting.CountConfig(3, dataset)).hash != step.hash


def test_a_worker_learns_of_it_from_the_step_that_it_is_sent(
    fresh: Callable[[], Any], counting: ModuleType, tmp_path: Path
) -> None:
    """Unpickling a config imports its module, which registers the kind."""
    lab = fresh()
    dataset = lab.plan().trials[0].distill.config.dataset
    step = counting.Step(counting.CountConfig(2, dataset))
    (tmp_path / "step").write_bytes(pickle.dumps(step))
    code = """
import pickle, sys
from pathlib import Path
from flexkd_platform.steps import run_step
from flexkd_platform.store import open_store
step = pickle.loads(Path(sys.argv[1]).read_bytes())
for each in (*step.upstream(), step):
    list(run_step(each, open_store(sys.argv[2]), 1))
"""
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code, str(tmp_path / "step"), lab.store.uri]
    environment = os.environ | {"PYTHONPATH": paths}
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert json.loads(lab.store.file(step, "words.json").read_text()) == expected(lab)


def test_a_name_that_is_taken_is_refused(counting: ModuleType) -> None:
    with pytest.raises(ValueError, match="two functions run 'count_words' steps"):
        register_step(counting.KIND, RUN["base"])
    with pytest.raises(ValueError, match="the step kind 'teacher' is already registered"):
        register_step(StepKind("teacher", 1, "ours", "task"), counting.run)
    assert RUN["count_words"] is counting.run
