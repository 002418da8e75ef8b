"""What answers at an address: each thing that is no Ray that lets us in is one line."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from flexkd_platform.cluster.dashboard import find_dashboard
from flexkd_platform.spec import Problem, SpecError

TOKEN = "the-token-of-this-cluster-0123456789"

Serve = Callable[..., str]


@pytest.fixture(autouse=True)
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def heard() -> list[tuple[str, str | None]]:
    """Path and Authorization of every request."""
    return []


@pytest.fixture
def serve(heard: list[tuple[str, str | None]]) -> Iterator[Serve]:
    """`serve(mode, ray, …)`: answers as the dashboard of such a cluster; returns its URL."""
    servers = []

    def start(
        mode: str | None = "disabled",
        ray: str | None = "2.60.0",
        python: str = "3.11.7",
        tls: ssl.SSLContext | None = None,
        head: tuple[str, str] | None = None,
        moved: str | None = None,
    ) -> str:
        answers = {
            "/api/authentication_mode": {"authentication_mode": mode} if mode else None,
            "/api/version": {"ray_version": ray} if ray else None,
            "/api/v0/cluster_metadata": {"data": {"pythonVersion": python}},
            "/nodes?view=summary": {"data": {"summary": nodes(*head)}} if head else None,
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization")
                heard.append((self.path, given))
                answer = answers.get(self.path)
                code = 404 if answer is None else 200
                if mode == "token" and self.path != "/api/authentication_mode":
                    code = 401 if given is None else 403 if given != f"Bearer {TOKEN}" else code
                body = json.dumps(answer).encode() if code == 200 else b"<html>no</html>"
                elsewhere = moved and code == 200 and self.path != "/api/authentication_mode"
                self.send_response(302 if elsewhere else code)
                if elsewhere:
                    self.send_header("Location", f"{moved}".replace("PATH", self.path))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def nodes(ip: str, name: str) -> list[dict[str, object]]:
    """What a dashboard tells of its nodes: a head that is gone, the head, and a worker here."""
    here = {"nodeManagerAddress": "127.0.0.1", "nodeManagerHostname": socket.gethostname()}
    head = {"nodeManagerAddress": ip, "nodeManagerHostname": name}
    facts = [
        {**here, "isHeadNode": True, "state": "DEAD"},
        {**here, "isHeadNode": False, "state": "ALIVE"},
        {**head, "isHeadNode": True, "state": "ALIVE"},
    ]
    return [{"raylet": each} for each in facts]


def refusal(address: str) -> Problem:
    with pytest.raises(SpecError) as caught:
        find_dashboard(address)
    (problem,) = caught.value.problems
    assert problem.path == "--address"
    assert "\n" not in problem.message
    return problem


def test_a_cluster_without_authentication_is_sent_no_token(
    serve: Serve, heard: list[tuple[str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    found = find_dashboard(serve(ray=version("ray")))
    assert (found.ray, found.python, dict(found.headers)) == (version("ray"), "3.11.7", {})
    assert {given for _, given in heard} == {None}


def test_a_cluster_in_token_mode_gets_the_token_that_is_there(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    found = find_dashboard(serve("token"))
    assert found.headers == {"Authorization": f"Bearer {TOKEN}"}


def test_without_a_token_the_three_places_are_named(serve: Serve) -> None:
    problem = refusal(serve("token"))
    assert "is in token mode, and no token was found here" in problem.message
    for place in ("RAY_AUTH_TOKEN,", "RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token", "chmod 600"):
        assert place in problem.remedy


def test_a_wrong_token_is_named_by_its_place(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another-0123456789")
    problem = refusal(serve("token"))
    assert "rejects the token from RAY_AUTH_TOKEN" in problem.message
    assert "another" not in str(problem)


def test_a_token_file_that_others_can_read_is_not_sent(
    serve: Serve, heard: list[tuple[str, str | None]], tmp_path: Path
) -> None:
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(SpecError, match=f"chmod 600 {path}"):
        find_dashboard(serve("token"))
    assert {given for _, given in heard} == {None}


@pytest.mark.parametrize("moved", ["{there}PATH", "{there}/ray/PATH"])
def test_a_redirect_is_not_followed_and_takes_no_token_elsewhere(
    serve: Serve,
    heard: list[tuple[str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
    moved: str,
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    there = serve("token")
    target = moved.replace("/PATH", "PATH").format(there=there).removesuffix("PATH")
    front = serve("token", moved=f"{target}PATH?next=hidden#hidden")
    problem = refusal(front)
    assert problem.message == f"{front} redirects to {target}"
    assert problem.remedy == f"give that address: --address {target}"
    assert [path for path, _ in heard] == ["/api/authentication_mode", "/api/version"]


def test_a_redirect_to_a_login_names_no_address_to_give(serve: Serve) -> None:
    front = serve(moved="/login?next=PATH")
    problem = refusal(front)
    assert problem.message == f"{front} redirects to {front}/login"
    assert "not that of a proxy" in problem.remedy


def test_a_redirect_to_what_is_no_address(serve: Serve) -> None:
    front = serve(moved="http://[bad")
    assert refusal(front).message == f"{front} redirects to what is not an address"


@pytest.mark.parametrize(
    ("head", "here"),
    [
        (("127.0.0.1", socket.gethostname()), True),
        (("127.0.0.1", "another-machine"), False),
        (("192.0.2.1", socket.gethostname()), False),  # RFC 5737: an address of nobody
        (("2001:db8::1", socket.gethostname()), False),  # RFC 3849
        (("", ""), False),
        (None, False),
    ],
)
def test_the_near_end_of_a_tunnel_is_not_the_cluster(
    serve: Serve, head: tuple[str, str] | None, here: bool
) -> None:
    assert find_dashboard(serve(head=head)).on_this_machine == here


@pytest.mark.parametrize("shown", ["/#/jobs", "#/overview", "/?x=1#/", "/"])
def test_an_address_may_be_copied_from_a_browser(serve: Serve, shown: str) -> None:
    url = serve()
    assert find_dashboard(url + shown).url == url


@pytest.mark.parametrize(
    ("ray", "python", "names"),
    [("2.9.3", "3.11.7", ["Ray"]), ("2.61.0", "3.12.1", ["Ray", "Python"]), ("2.60.9", "", [])],
)
def test_versions_are_compared_ours_beside_theirs(
    serve: Serve, ray: str, python: str, names: list[str]
) -> None:
    problems = find_dashboard(serve(ray=ray, python=python)).problems()
    assert len(problems) == len(names)
    for name, problem in zip(names, problems, strict=True):
        theirs = {"Ray": ray, "Python": python}[name]
        assert f"the cluster runs {name} {theirs}, and this is {name} " in problem.message
        assert f"an environment with {name} {'.'.join(theirs.split('.')[:2])}" in problem.remedy


def test_another_server_is_no_ray(serve: Serve) -> None:
    problem = refusal(serve(mode=None, ray=None))
    assert "is not a Ray dashboard" in problem.message
    assert "http://HEAD:8265" in problem.remedy


def test_nothing_there(unused: int) -> None:
    problem = refusal(f"http://127.0.0.1:{unused}/")
    assert problem.message == (
        f"no Ray cluster answers at http://127.0.0.1:{unused}: Connection refused"
    )


@pytest.fixture
def unused() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "message", "remedy"),
    [
        ("ray://head:10001", "Ray Client", "http://HEAD:8265"),
        ("head:6379", "the GCS address, not the dashboard", "http://head:8265"),
        ("http://head:6379", "the GCS address, not the dashboard", "http://head:8265"),
        ("auto", "not an address to submit to", "http://HEAD:8265"),
        ("ftp://head", "not an address of a dashboard", "http://HEAD:8265"),
        ("http://head:port", "not an address", "http://HEAD:8265"),
        ("http://me:word@head:8265", "contains a user or a password", "RAY_AUTH_TOKEN"),
        ("http://me:word/2@head:8265", "contains a user or a password", "RAY_AUTH_TOKEN"),
        ("me:word@head:port", "contains a user or a password", "RAY_AUTH_TOKEN"),
    ],
)
def test_other_addresses_of_a_cluster_are_told_apart(
    address: str, message: str, remedy: str
) -> None:
    problem = refusal(address)
    assert message in problem.message
    assert remedy in problem.remedy
    assert "word" not in problem.message.replace("password", "")


def test_http_may_be_left_out(serve: Serve) -> None:
    url = serve()
    assert find_dashboard(url.removeprefix("http://")).url == url


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


def test_https_and_http_are_told_apart(
    serve: Serve,
    certificate: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, cert = certificate
    plain, secure = serve(), serve(tls=context)
    problem = refusal(plain.replace("http://", "https://"))
    assert "does not answer in https" in problem.message
    assert f"try {plain}" in problem.remedy
    problem = refusal(secure)
    assert "is not trusted" in problem.message
    assert "SSL_CERT_FILE" in problem.remedy
    problem = refusal(secure.replace("https://", "http://"))
    assert "does not answer in http" in problem.message
    assert "https://" in problem.remedy
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert find_dashboard(secure).ray == "2.60.0"
