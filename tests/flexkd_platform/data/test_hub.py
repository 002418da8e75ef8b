"""The hub: against a server that answers as it does, its cache, and nothing at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

COMMIT = "a" * 40
TRAIN = "sentence,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(60))
FILES = {
    "README.md": (
        "---\nconfigs:\n"
        "- config_name: sst2\n  data_files:\n"
        "  - {split: train, path: sst2/train.csv}\n  - {split: test, path: sst2/test.csv}\n"
        "- config_name: held\n  data_files:\n  - {split: test, path: sst2/test.csv}\n---\n"
    ),
    "sst2/train.csv": TRAIN,
    "sst2/test.csv": "sentence,label\nu,-1\nv,-1\n",  # labels kept back, as in GLUE
}

# `datasets` reads its settings from the environment on import: hence a process of its own.
PROGRAM = """
import json, sys
from flexkd_platform.data import check_data
from flexkd_platform.spec import ClassificationTask, HubData
for settings in json.loads(sys.argv[1]):
    data = HubData(source="hub", **{"text": "sentence", **settings})
    facts, problems = check_data(ClassificationTask(data=data))
    told = [[problem.path, problem.message, problem.remedy] for problem in problems]
    known = facts and [facts.fingerprint, facts.sizes, facts.classes]
    print("ANSWER" + json.dumps([known, told]))
"""


class Hub(BaseHTTPRequestHandler):
    """One data set, `team/toy`, of one commit: the requests that `datasets` 5.2 makes of it."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        api, files = "/api/datasets/team/toy", f"/datasets/team/toy/resolve/{COMMIT}/"
        if path in {api, f"{api}/revision/{COMMIT}", f"{api}/revision/main"}:
            siblings = [{"rfilename": name} for name in FILES]
            self.answer({"id": "team/toy", "sha": COMMIT, "tags": [], "siblings": siblings})
        elif path.startswith(f"{api}/revision/"):
            self.refuse("RevisionNotFound")
        elif path == f"{api}/tree/{COMMIT}/sst2":
            self.answer([self.entry(name) for name in FILES if name.startswith("sst2/")])
        elif path.removeprefix(files) in FILES:
            self.send(200, FILES[path.removeprefix(files)].encode(), path.removeprefix(files))
        else:
            self.refuse("EntryNotFound" if path.startswith(files) else "RepoNotFound")

    def entry(self, name: str) -> dict[str, Any]:
        size = len(FILES[name])
        return {"type": "file", "path": name, "size": size, "oid": self.digest(name)}

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
    assert "'sst' not found. Available: ['sst2', 'held']" in no_config[1][0][1]
    assert no_revision[1][0][:2] == ["task.data.revision", "team/toy has no revision 'v9'"]
    assert unknown[1][0][0] == "task.data.name"
    assert "the hub knows no data set 'team/nothing'" in unknown[1][0][1]
    assert "set HF_TOKEN if it is private" in unknown[1][0][2]
    assert no_name[1][0][1] == "'a b/c' is no name of the hub"
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


def test_a_hub_that_cannot_be_reached_is_one_clear_problem(tmp_path: Path) -> None:
    started = time.monotonic()
    # Port 9 of this machine: nothing listens there, and the refusal comes at once.
    ((facts, problems),) = check(tmp_path, SST2, HF_ENDPOINT="http://127.0.0.1:9")
    assert facts is None
    ((path, message, remedy),) = problems
    assert path == "task.data.name"
    assert message.startswith("the Hugging Face hub cannot be reached for team/toy: ")
    for way_out in ["source: files", "source: builtin", "HF_ENDPOINT", "HF_TOKEN"]:
        assert way_out in remedy
    # `datasets` alone retries for 23 s.
    assert time.monotonic() - started < 15
