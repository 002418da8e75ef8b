"""Probe a cluster's dashboard address: whether it is Ray, its versions and its authentication."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..spec import Problem, SpecError
from .auth_token import PLACES, find_token

ANSWER_SECONDS = 10.0
"""Response timeout of an address."""

OPTION = "--address"
EXAMPLE = "give the dashboard's address, for example http://HEAD:8265"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
"""Names of the loopback interface."""


@dataclass(frozen=True)
class Dashboard:
    """The dashboard of a cluster.

    url: with its scheme, without a trailing slash.
    ray, python: versions of the head; "" if it does not report them.
    headers: required in every request; contains the token.
    on_this_machine: whether the head runs on this machine.
    """

    url: str
    ray: str
    python: str
    headers: Mapping[str, str]
    on_this_machine: bool = False

    def problems(self) -> list[Problem]:
        """Incompatible versions of Ray or Python, the cluster's next to ours."""
        ours = {"Ray": (version("ray"), self.ray), "Python": (_python(), self.python)}
        return [
            Problem(
                OPTION,
                f"the cluster runs {name} {theirs}, and this is {name} {here}",
                f"submit from an environment with {name} {_minor(theirs)}, "
                f"or start the cluster with {name} {_minor(here)}",
            )
            for name, (here, theirs) in ours.items()
            if theirs and _minor(theirs) != _minor(here)
        ]


def find_dashboard(address: str) -> Dashboard:
    """Find the dashboard at an address; a token is sent only to a cluster that requires one.

    Raises:
        SpecError: nothing answers, it is not a Ray dashboard, or it requires a token that we do
            not have.
    """
    url = _url(address)
    headers: dict[str, str] = {}
    code, answer = _get(url, "/api/authentication_mode", headers)
    token = None
    if _value(answer, "authentication_mode") == "token":
        token = find_token()
        if token is None:
            message = f"the cluster at {url} is in token mode, and no token was found here"
            raise _problem(message, f"ask the cluster's administrator for the token, and {PLACES}")
        headers["Authorization"] = f"Bearer {token.text}"
    code, answer = _get(url, "/api/version", headers)
    ray = _value(answer, "ray_version")
    if code in {401, 403} and token is not None:
        message = f"the cluster at {url} is in token mode and rejects the token from {token.place}"
        raise _problem(message, f"ask the cluster's administrator for its token, and {PLACES}")
    if code in {401, 403}:
        message = (
            f"the server at {url} requires authentication ({code}), but is not a Ray dashboard"
        )
        raise _problem(message, f"{EXAMPLE}, not that of a proxy")
    if code != 200 or ray is None:
        raise _problem(f"the server at {url} is not a Ray dashboard", EXAMPLE)
    _, answer = _get(url, "/api/v0/cluster_metadata", headers)
    facts = answer.get("data") if isinstance(answer, dict) else None
    here = urlsplit(url).hostname in THIS_MACHINE and _head_is_here(url, headers)
    return Dashboard(url, ray, _value(facts, "pythonVersion") or "", headers, here)


def _head_is_here(url: str, headers: Mapping[str, str]) -> bool:
    """Whether the head runs on this machine: localhost may also be the local end of a tunnel.

    The IP address alone is not enough: many machines have 127.0.0.1 or the same private address.
    """
    _, answer = _get(url, "/nodes?view=summary", headers)
    data = answer.get("data") if isinstance(answer, dict) else None
    nodes = data.get("summary") if isinstance(data, dict) else None
    for node in nodes if isinstance(nodes, list) else []:
        facts = node.get("raylet") if isinstance(node, dict) else None
        if not isinstance(facts, dict) or not facts.get("isHeadNode"):
            continue
        if _value(facts, "state") == "ALIVE":
            same = _value(facts, "nodeManagerHostname") == socket.gethostname()
            return same and _is_own(_value(facts, "nodeManagerAddress") or "")
    return False


def _is_own(ip: str) -> bool:
    """Whether an IP address belongs to this machine: only its own addresses can be bound."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return bool(ip)


def _url(address: str) -> str:
    """The address as a URL.

    Raises:
        SpecError: it is the address of another Ray service, or not a valid address.
    """
    if address.startswith("ray://"):
        raise _problem(f"{address} is an address of Ray Client", EXAMPLE)
    if address in {"auto", "local", "none", ""}:
        raise _problem(f"{address!r} is not an address to submit to", EXAMPLE)
    url = address if "://" in address else f"http://{address}"
    if "@" in url:
        raise _problem(
            "the address contains a user or a password", f"leave it out; for a token, {PLACES}"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _problem(f"{address!r} is not an address: {error}", EXAMPLE) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _problem(f"{address!r} is not an address of a dashboard", EXAMPLE)
    if port == 6379:
        message = f"{address} is the GCS address, not the dashboard"
        raise _problem(
            message, f"give the dashboard's address, for example http://{parts.hostname}:8265"
        )
    # A URL copied from a browser has a fragment, for example http://head:8265/#/jobs.
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: they would send the token to an unknown server. Ray's client uses the
    same address, and turns a redirected POST into a GET.
    """

    def redirect_request(self, *_: object) -> None:
        """Return None: the response is returned as it is."""


def _get(url: str, path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
    """Status and JSON of a response; None in place of invalid JSON.

    Raises:
        SpecError: nothing answers, the response is not HTTP, or it is a redirect.
    """
    request = urllib.request.Request(url + path, headers=dict(headers))
    try:
        opener = urllib.request.build_opener(_StayHere)
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return answer.status, _json(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            if 300 <= error.code < 400 and error.headers.get("Location"):
                raise _redirected(url, path, error.headers["Location"]) from None
            return error.code, _json(error.read())
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _unanswered(url, cause) from None
    except ValueError:  # urllib parses the redirect's address although it is not followed
        raise _problem(f"{url} redirects to what is not an address", EXAMPLE) from None


def _redirected(url: str, path: str, location: str) -> SpecError:
    """The error for an address that redirects to another one."""
    parts = urlsplit(urljoin(url + path, location))
    target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    own = path.partition("?")[0]
    if target.endswith(own):
        target = target.removesuffix(own)
        return _problem(f"{url} redirects to {target}", f"give that address: --address {target}")
    return _problem(f"{url} redirects to {target}", f"{EXAMPLE}, not that of a proxy")


def _unanswered(url: str, cause: object) -> SpecError:
    if isinstance(cause, ssl.SSLCertVerificationError):
        remedy = "name its certificate in SSL_CERT_FILE and REQUESTS_CA_BUNDLE"
        return _problem(f"the certificate of {url} is not trusted: {cause.verify_message}", remedy)
    if isinstance(cause, ssl.SSLError):
        return _problem(f"{url} does not answer in https", f"try http://{url.partition('://')[2]}")
    if isinstance(cause, http.client.HTTPException | ConnectionResetError):
        remedy = f"{EXAMPLE}, or with https:// if required"
        return _problem(f"the server at {url} does not answer in http", remedy)
    reason = getattr(cause, "strerror", None) or str(cause)
    remedy = f"{EXAMPLE}; the head must be running and reachable from here"
    return _problem(f"no Ray cluster answers at {url}: {reason}", remedy)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _value(answer: Any, name: str) -> str | None:
    found = answer.get(name) if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _problem(message: str, remedy: str) -> SpecError:
    return SpecError([Problem(OPTION, message, remedy)])
