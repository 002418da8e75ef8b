"""Probe the GCS address of a Ray cluster (port 6379) before Ray is imported."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal

import grpc

from ..spec import Problem, SpecError
from .auth_token import PLACES, find_token, use_token_if_there

CONNECT_SECONDS = 5.0
"""Connection timeout. Ray itself tries for two minutes to reach an address that does not answer."""

ANSWER_SECONDS = 30.0
"""Response timeout; the head may be busy."""

QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""An RPC without arguments; it fails with UNAUTHENTICATED if the token is missing or wrong."""

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray Jobs for a driver; its runtime environment already contains our code."""

Mode = Literal["open", "token"]


def prepare_to_join(address: str) -> None:
    """Reject an address where no cluster can be joined, and make Ray send a token if required.

    Whether Ray sends a token is decided when `ray` is first imported.

    Raises:
        SpecError: nothing answers, the service is not Ray, or it requires a token that we do not
            have. Or `RAY_AUTH_MODE` is `token`, and there is no token.
    """
    if address.startswith("ray://"):
        # Ray Client has no streaming generators, which a task reports its progress by.
        raise no_cluster(address, "a Ray Client connection cannot run a job; use flexkd submit")
    place = _address_of_auto() if address == "auto" else address
    host, _, port = place.rpartition(":")
    if not port.isdigit():
        use_token_if_there()
        return  # a name that Ray resolves or rejects itself
    host = host.strip("[]")
    token_mode = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
    # A job's driver gets its token from the node that it runs on, as every worker there does.
    given = IN_A_JOB in os.environ and token_mode
    if mode_of(place, host, int(port)) == "token":
        if not given:
            _check_token(place, host, int(port))
        os.environ["RAY_AUTH_MODE"] = "token"
    elif token_mode and not given and find_token() is None:
        message = "RAY_AUTH_MODE=token requires a token, and none was found here"
        remedy = f"unset RAY_AUTH_MODE, as the cluster at {place} requires none; or {PLACES}"
        raise SpecError([Problem("--address", message, remedy)])


def _check_token(place: str, host: str, port: int) -> None:
    """Check our token with the cluster: Ray itself would only fail after it has started.

    Raises:
        SpecError: there is no token here, or the cluster rejects it.
    """
    token = find_token()
    message = f"the cluster at {place} is in token mode, and no token was found here"
    if token is not None:
        if _lets_in(place, host, port, token.text):
            return
        message = (
            f"the cluster at {place} is in token mode and rejects the token from {token.place}"
        )
    remedy = f"ask the cluster's administrator for the token, and {PLACES}"
    raise SpecError([Problem("--address", message, remedy)])


def _address_of_auto() -> str:
    """Resolve `auto` as Ray does: the environment, then the file of the last `ray start` here."""
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    try:
        place = note.read_text(encoding="utf-8").strip()
        host, _, port = place.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return "auto"  # an outdated file; Ray continues its own search
    return place


def mode_of(address: str, host: str, port: int) -> Mode:
    """Whether the cluster at this address requires a token.

    Raises:
        SpecError: there is no cluster.
    """
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, str(error)) from None
    return "open" if _lets_in(address, host, port) else "token"


def _lets_in(address: str, host: str, port: int, token: str = "") -> bool:
    """Whether the cluster accepts this token, or a request without one.

    Raises:
        SpecError: the service is not a Ray cluster, or does not answer.
    """
    sent = [("authorization", f"Bearer {token}")] if token else None
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary(QUESTION)
        try:
            ask(b"", timeout=ANSWER_SECONDS, metadata=sent)
        except ValueError:
            return False  # not a valid Ray token: invalid characters for a header
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return False
            reason = "the service is not Ray's GCS; to use a dashboard address, run flexkd submit"
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                reason = f"the service did not respond within {ANSWER_SECONDS:g} s"
            raise no_cluster(address, reason) from None
    return True


def no_cluster(address: str, reason: str) -> SpecError:
    """The error for an address where no cluster can be joined."""
    return SpecError(
        [
            Problem(
                "--address",
                f"no Ray cluster can be joined at {address!r}: {reason}",
                "start one with `ray start --head`, or use --address local or none; "
                "from a machine outside the cluster, flexkd submit",
            )
        ]
    )
