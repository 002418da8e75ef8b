"""The hub: against a server that answers as it does, its cache, and nothing at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COMMIT = "a" * 40
TRAIN = "sentence,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(60))


def pairs(name: str, rows: int) -> bytes:
    lines = [f"{name} {n},hypothesis {n},{n % 3}\n" for n in range(rows)]
    return ("premise,hypothesis,label\n" + "".join(lines)).encode()


def asked(rows: int) -> bytes:
    stream = io.BytesIO()
    table = [{"instruction": f"Do {n}.", "output": [f"{n}", "or so"]} for n in range(rows)]
    pq.write_table(pa.Table.from_pylist(table), stream)
    return stream.getvalue()


FILES = {
    "README.md": (
        b"---\nconfigs:\n"
        b"- config_name: sst2\n  data_files:\n"
        b"  - {split: train, path: sst2/train.csv}\n  - {split: test, path: sst2/test.csv}\n"
        b"- config_name: held\n  data_files:\n  - {split: test, path: sst2/test.csv}\n"
        b"- config_name: mnli\n  data_files:\n"
        b"  - {split: train, path: mnli/train.csv}\n"
        b"  - {split: validation_matched, path: mnli/matched.csv}\n"
        b"  - {split: validation_mismatched, path: mnli/mismatched.csv}\n"
        b"  - {split: test, path: mnli/test.csv}\n---\n"
    ),
    "sst2/train.csv": TRAIN.encode(),
    "sst2/test.csv": b"sentence,label\nu,-1\nv,-1\n",  # labels kept back, as in GLUE
    "mnli/train.csv": pairs("train", 60),
    "mnli/matched.csv": pairs("matched", 7),
    "mnli/mismatched.csv": pairs("mismatched", 9),
    "mnli/test.csv": b"premise,hypothesis,label\nu,v,-1\nw,x,-1\n",
}
ASK = {
    "README.md": (
        b"---\nconfigs:\n- config_name: all\n  data_files:\n"
        b"  - {split: train, path: all/train.parquet}\n"
        b"  - {split: dev, path: all/dev.parquet}\n---\n"
    ),
    "all/train.parquet": asked(50),
    "all/dev.parquet": asked(8),
}
SCRIPT = {"script.py": b"open('ran', 'w').write('this must not run')\n"}
REPOSITORIES = {"team/toy": FILES, "team/ask": ASK, "team/script": SCRIPT}

# `datasets` reads its settings from the environment on import: hence a process of its own.
PROGRAM = """
import json, sys, time
slept = []
time.sleep = slept.append
from flexkd_platform.data import check_data
from pydantic import TypeAdapter
from flexkd_platform.spec import Task
for settings in json.loads(sys.argv[1]):
    task = settings.pop("task", {"kind": "classification"})
    columns = {"text": "sentence"} if task["kind"] == "classification" else {}
    data = {"source": "hub", **columns, **settings}
    task = TypeAdapter(Task).validate_python({"data": data, **task})
    facts, problems = check_data(task)
    told = [[problem.path, problem.message, problem.remedy] for problem in problems]
    known = facts and [facts.fingerprint, facts.sizes, facts.classes]
    if task.evaluation and facts:
        known.append({name: found.rows for name, found in facts.evaluation.items()})
    print("ANSWER" + json.dumps([known, told]))
assert sum(slept) < 1, f"nothing is tried again: {slept}"  # `datasets` alone would, for 23 s
"""


class Hub(BaseHTTPRequestHandler):
    """A few data sets of one commit: the requests that `datasets` 5.2 makes of them."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        for name, contents in REPOSITORIES.items():
            api, files = f"/api/datasets/{name}", f"/datasets/{name}/resolve/{COMMIT}/"
            if path in {api, f"{api}/revision/{COMMIT}", f"{api}/revision/main"}:
                siblings = [{"rfilename": file} for file in contents]
                self.answer({"id": name, "sha": COMMIT, "tags": [], "siblings": siblings})
            elif path.startswith(f"{api}/revision/"):
                self.refuse("RevisionNotFound")
            elif path.startswith(f"{api}/tree/{COMMIT}/"):
                folder = path.rpartition("/")[2] + "/"
                there = {file: body for file, body in contents.items() if file.startswith(folder)}
                self.answer([self.entry(file, body) for file, body in there.items()])
            elif path.removeprefix(files) in contents:
                self.send(200, contents[path.removeprefix(files)], path.removeprefix(files))
            elif path.startswith(files):
                self.refuse("EntryNotFound")
            else:
                continue
            return
        self.refuse("RepoNotFound")

    def entry(self, name: str, body: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(body), "oid": self.digest(name)}

    def digest(self, name: str) -> str:
        return hashlib.sha1(name.encode()).hexdigest()

    def answer(self, value: object) -> None:
        self.send(200, json.dumps(value).encode())

    def refuse(self, code: str) -> None:
        self.send(404, b"", error=code)

    def send(self, status: int, body: bytes, name: str = "", error: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        if name:
            self.send_header("ETag", f'"{self.digest(name)}"')
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def check(cache: Path, *asked: dict[str, Any], **environment: str) -> list[Any]:
    """Facts and problems for each of the data sections asked for."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
    env = {**kept, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HOME": str(cache), **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    return [json.loads(line.removeprefix("ANSWER")) for line in lines]


SST2 = {"name": "team/toy", "config": "sst2"}


def test_a_commit_is_read_and_then_found_in_the_cache(endpoint: str, cache: Path) -> None:
    newest, pinned, no_column, no_config, no_revision, unknown, no_name, no_train = check(
        cache,
        SST2,
        {**SST2, "revision": COMMIT},
        {**SST2, "text": "text"},
        {**SST2, "config": "sst"},
        {**SST2, "revision": "v9"},
        {"name": "team/nothing"},
        {"name": "a b/c"},
        {**SST2, "config": "held"},
        HF_ENDPOINT=endpoint,
    )
    (_, sizes, classes), problems = newest
    assert problems == []
    assert classes == 2
    assert sum(sizes.values()) == 60  # the test split without labels is not used
    assert min(sizes.values()) > 0
    assert pinned == newest

    absent = [f"team/toy/sst2 ({split}) has no column 'text'" for split in ("train", "test")]
    assert [problem[1] for problem in no_column[1]] == absent
    assert no_column[1][0][2] == "name one of its columns: sentence, label"
    assert no_config[1][0][0] == "task.data.config"
    assert "'sst' not found. Available: ['sst2', 'held', 'mnli']" in no_config[1][0][1]
    assert no_revision[1][0][:2] == ["task.data.revision", "team/toy has no revision 'v9'"]
    assert unknown[1][0][0] == "task.data.name"
    assert "there is no data set 'team/nothing' on the hub" in unknown[1][0][1]
    assert "set HF_TOKEN if it is private" in unknown[1][0][2]
    assert no_name[1][0][1] == "'a b/c' is not a hub name"
    assert no_train[1][0][1] == "team/toy/held has no split 'train', but test"

    offline, other_commit, not_cached = check(
        cache,
        SST2,
        {**SST2, "revision": "v9"},
        {"name": "team/nothing"},
        HF_ENDPOINT=endpoint,
        HF_HUB_OFFLINE="1",
    )
    assert offline == newest
    assert other_commit[1][0][0] == "task.data.revision"
    assert f"the cache holds commit {COMMIT}" in other_commit[1][0][1]
    assert not_cached[1][0][1].startswith("HF_HUB_OFFLINE is set, and team/nothing is not in")
    assert not_cached[1][0][2].startswith("unset HF_HUB_OFFLINE")


MNLI = {"name": "team/toy", "config": "mnli", "text": "premise", "text_pair": "hypothesis"}


def mnli(**splits: str) -> dict[str, Any]:
    return {**MNLI, "splits": splits}


def measured_on(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "classification", "evaluation": {name: {"source": "hub", **settings}}}


MATCHED = mnli(validation="validation_matched", test="validation_mismatched")
INSTRUCTION = {"task": {"kind": "instruction"}}
ASKED: dict[str, dict[str, Any]] = {
    "drawn": MNLI,
    "named": MATCHED,
    "twice": mnli(validation="validation_matched", test="validation_matched"),
    "unknown": mnli(test="validation"),
    "kept back": mnli(test="test"),
    "sets": {**MATCHED, "task": measured_on("mm", mnli(test="validation_mismatched"))},
    "hidden": {**MATCHED, "task": measured_on("mnli", MNLI)},
    "instructions": {"name": "team/ask", **INSTRUCTION},
    "labels": {**SST2, "instruction": "sentence", "output": "label", **INSTRUCTION},
    "script": {"name": "team/script"},
}


@pytest.fixture(scope="module")
def answers(endpoint: str, cache: Path) -> dict[str, Any]:
    """What was found for each of `ASKED`, by one process: it takes seconds to start."""
    found = check(cache, *ASKED.values(), HF_ENDPOINT=endpoint)
    return dict(zip(ASKED, found, strict=True))


def test_the_spec_names_splits(answers: dict[str, Any]) -> None:
    drawn, named, twice, unknown = (
        answers[name] for name in ("drawn", "named", "twice", "unknown")
    )
    # Without a name, neither of MNLI's validation splits is taken for the usual one.
    assert sum(drawn[0][1].values()) == 60
    assert named[0][1:] == [{"train": 60, "validation": 7, "test": 9}, 3]
    assert named[0][0] != drawn[0][0]
    path, message, _ = twice[1][0]
    assert path == "task.data.splits.test"
    assert message == "'validation_matched' is named as the validation split too"
    path, message, remedy = unknown[1][0]
    assert path == "task.data.splits.test"
    assert message.startswith("team/toy/mnli has no split 'validation', but train, validation_mat")
    assert remedy.startswith("name one of them under splits.test")


def test_labels_that_are_kept_back(answers: dict[str, Any]) -> None:
    path, message, remedy = answers["kept back"][1][0]
    assert path == "task.data.splits.test"
    assert message == "the labels of team/toy/mnli (test) are withheld: all of them are -1"
    assert remedy == "name a split that has labels, as splits: {test: validation_matched}"
    assert answers["sets"][0][3] == {"mm": 9}
    # A set that is only measured on must not be taken from train because its labels are hidden.
    assert answers["hidden"][1] == [["task.evaluation.mnli.splits.test", message, remedy]]


def test_instructions(answers: dict[str, Any]) -> None:
    asked_for, wrong = answers["instructions"], answers["labels"]
    assert asked_for[1] == []
    sizes = asked_for[0][1]
    assert sizes["validation"] == 8  # `dev` is a usual name
    assert sizes["train"] + sizes["test"] == 50
    assert wrong[1][0][:2] == [
        "task.data.output",
        "the responses of team/toy/sst2 (train) are of type int64",
    ]


def test_scripts_are_never_run(answers: dict[str, Any]) -> None:
    script = answers["script"]
    assert script[0] is None
    assert script[1][0][0] == "task.data.name"
    assert "cannot be loaded" in script[1][0][1]
    assert "script" in script[1][0][1]
    assert not Path("ran").exists()


def test_a_hub_that_cannot_be_reached_is_one_clear_problem(tmp_path: Path) -> None:
    # Port 9 of this machine: nothing listens there, and the refusal comes at once.
    ((facts, problems),) = check(tmp_path, SST2, HF_ENDPOINT="http://127.0.0.1:9")
    assert facts is None
    ((path, message, remedy),) = problems
    assert path == "task.data.name"
    assert message.startswith("the Hugging Face hub cannot be reached for team/toy: ")
    for way_out in ["source: files", "source: builtin", "HF_ENDPOINT", "HF_TOKEN"]:
        assert way_out in remedy
