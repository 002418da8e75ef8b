"""A hub on this machine that takes uploads as the Hugging Face hub does, and keeps them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_test"


@dataclass
class Hub:
    """What was uploaded. refuse: the status of a commit that is not taken; 0 takes it."""

    address: str = ""
    repositories: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refuse: int = 0


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The hub, for `HF_ENDPOINT`."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        def _answer(self, value: Any, status: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer({"error": "Invalid credentials"}, 401)
            elif self.path.startswith("/api/whoami"):
                self._answer({"type": "user", "name": "ada", "orgs": [], "auth": {}})
            elif self.path.removeprefix("/api/models/").split("?")[0] in hub.repositories:
                name = self.path.removeprefix("/api/models/").split("?")[0]
                self._answer({"id": name, "modelId": name, "sha": "0" * 40, "siblings": []})
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_PUT(self) -> None:
            hub.large[self.path.rpartition("/")[2]] = self._body()
            self._answer({})

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/api/repos/create":
                wanted = json.loads(body)
                name = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
                name = name if "/" in name else f"ada/{name}"
                hub.repositories[name] = wanted.get("visibility") == "private" or bool(
                    wanted.get("private")
                )
                self._answer({"url": f"{hub.address}/{name}", "id": name})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                self._answer(
                    {
                        "files": [
                            {
                                "path": file["path"],
                                "uploadMode": "lfs"
                                if file["path"].endswith(".safetensors")
                                else "regular",
                                "shouldIgnore": False,
                            }
                            for file in files
                        ]
                    }
                )
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = json.loads(body)["objects"]
                self._answer(
                    {
                        "transfer": "basic",
                        "objects": [
                            {
                                **each,
                                "actions": {"upload": {"href": f"{hub.address}/lfs/{each['oid']}"}},
                            }
                            for each in objects
                        ],
                    }
                )
            elif "/commit/" in self.path:
                self._commit(body)
            else:
                self._answer({})

        def _commit(self, body: bytes) -> None:
            if hub.refuse:
                self._answer({"error": "You may not write here"}, hub.refuse)
                return
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    hub.messages.append(value["summary"])
                elif line["key"] == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.files[value["path"]] = hub.large[value["oid"]]
            url = f"{hub.address}/ada/student/commit/1"
            self._answer({"commitUrl": url, "commitOid": "1" * 40, "success": True})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
