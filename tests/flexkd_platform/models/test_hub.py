"""Hub models against a small server that speaks the hub's protocol on this machine."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from flexkd_platform.model_info import ModelError, locate
from flexkd_platform.models import check_model, load_tokenizer, load_with_head

COMMIT = "a" * 40
NAME = "org/tiny"


class _Hub(ThreadingHTTPServer):
    """Serves one folder as `org/tiny`; remembers what was asked for."""

    folder: Path
    paths: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.paths.append(path)
        files = sorted(self.server.folder.iterdir())
        revisions = [f"/api/models/{NAME}/revision/{name}" for name in ("main", COMMIT)]
        if path in (f"/api/models/{NAME}", *revisions):
            return self._json({"id": NAME, "sha": COMMIT})
        if path == f"/api/models/{NAME}/revision/gone":
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if path == f"/api/models/{NAME}/tree/{COMMIT}":
            return self._json(
                [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": self._oid(f)}
                    for f in files
                ]
            )
        for file in files:
            if path == f"/{NAME}/resolve/{COMMIT}/{file.name}":
                headers = {"ETag": f'"{self._oid(file)}"', "X-Repo-Commit": COMMIT}
                return self._send(200, file.read_bytes(), headers)
        code = "EntryNotFound" if path.startswith(f"/{NAME}/resolve/") else "RepoNotFound"
        return self._send(404, b"", {"X-Error-Code": code})

    @staticmethod
    def _oid(file: Path) -> str:
        return sha256(file.read_bytes()).hexdigest()[:40]

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        wanted = self.headers.get("Range")
        if wanted and status == 200:
            first, last = wanted.removeprefix("bytes=").split("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            body, status = body[int(first) : int(last or len(body)) + 1], 206
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def point_at(url: str, cache: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))


@pytest.fixture
def hub(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[_Hub]:
    server = _Hub(("127.0.0.1", 0), _Handler)
    server.folder, server.paths = make("bert"), []
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    point_at(f"http://127.0.0.1:{server.server_port}", tmp_path / "cache", monkeypatch)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A port of this machine that nobody listens on, nor can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        point_at(f"http://127.0.0.1:{held.getsockname()[1]}", tmp_path / "cache", monkeypatch)
        yield


def test_a_hub_model_is_checked_without_its_weights_and_pinned(hub: _Hub) -> None:
    facts, problems = check_model(NAME, None, path="teacher.model")
    assert problems == []
    assert facts is not None
    assert facts.fingerprint == f"{NAME}@{COMMIT}"
    assert facts.layers == 4
    weights = f"/{NAME}/resolve/{COMMIT}/model.safetensors"
    # Its headers were read twice at most: one range for the length, one for the rest.
    assert 1 <= hub.paths.count(weights) <= 3


def test_a_pinned_model_is_loaded_once_and_then_from_the_cache(hub: _Hub) -> None:
    source = f"{NAME}@{COMMIT}"
    model = load_with_head(source, outputs=2, regression=False, seed=0)
    asked = len(hub.paths)
    again = load_with_head(source, outputs=2, regression=False, seed=0)
    assert load_tokenizer(source)("good")["input_ids"] == [2, 6, 3]
    assert again.config.hidden_size == model.config.hidden_size == 24
    assert len(hub.paths) == asked


def test_truncated_weights_on_the_hub(hub: _Hub) -> None:
    file = hub.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    _, (problem,) = check_model(NAME, "main", path="teacher.model")
    assert (
        "the weights of the hub model 'org/tiny' could not be read (SafetensorsParsingError)"
        in problem.message
    )


def test_no_safetensors_on_the_hub(hub: _Hub) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    _, (problem,) = check_model(NAME, None, path="teacher.model")
    assert problem.message == "the hub model 'org/tiny' holds no safetensors weights"


def test_no_such_model_or_revision(hub: _Hub) -> None:
    _, (problem,) = check_model("org/other", None, path="teacher.model")
    assert problem.path == "teacher.model"
    assert problem.message == "no folder and no hub model 'org/other' that you may read"
    assert "hf auth login" in problem.remedy
    _, (problem,) = check_model(NAME, "gone", path="teacher.model")
    assert problem.path == "teacher.revision"
    assert problem.message == "the hub model 'org/tiny' has no revision 'gone'"


def test_an_impossible_name(hub: _Hub) -> None:
    _, (problem,) = check_model("org/a--b", None, path="teacher.model")
    assert "is neither a folder here nor the name of a hub model" in problem.message
    assert hub.paths == []


@pytest.mark.usefixtures("no_hub")
def test_an_unreachable_hub_is_one_message_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    _, (problem,) = check_model(NAME, None, path="teacher.model")
    assert sum(slept) < 1, "retries would take 1 + 2 + 4 + 8 + 8 s"
    assert problem.path == "teacher.model"
    assert problem.message == (
        "'org/tiny' is not a folder here, and the hub cannot be reached to look for it "
        "(ConnectError)"
    )
    assert "hf download org/tiny" in problem.remedy


def test_offline_takes_what_is_cached(hub: _Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_with_head(str(locate(NAME)), outputs=2, regression=False, seed=0)
    asked = len(hub.paths)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    facts, problems = check_model(NAME, None, path="teacher.model")
    assert problems == []
    assert facts is not None
    assert facts.fingerprint == f"{NAME}@{COMMIT}"
    _, (problem,) = check_model("org/other", None, path="teacher.model")
    assert "(OfflineModeIsEnabled)" in problem.message
    assert len(hub.paths) == asked


@pytest.mark.usefixtures("hub")
def test_offline_without_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    facts, _ = check_model(NAME, None, path="teacher.model")  # fetches all but the weights
    assert facts is not None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"could not be downloaded \(IncompleteSnapshotError\)"):
        load_with_head(NAME, outputs=2, regression=False, seed=0)
