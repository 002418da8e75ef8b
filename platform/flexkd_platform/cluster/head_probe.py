"""What answers where the nodes of a Ray cluster meet (port 6379): asked before Ray is imported."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal

import grpc

from ..spec import Problem, SpecError
from .auth_token import PLACES, find_token, use_token_if_there

CONNECT_SECONDS = 5.0
"""Ray itself tries for two minutes to reach an address where nothing answers."""

ANSWER_SECONDS = 30.0
"""How long what listens there may take to answer: a head may be busy."""

QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""A question without arguments; who may not ask it is told so."""

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray Jobs for a driver whose runtime environment holds our code already."""

Mode = Literal["open", "token"]


def prepare_to_join(address: str) -> None:
    """Refuse an address where no cluster can be joined, and have Ray send a token if it must.

    What Ray sends is decided when `ray` is first imported.

    Raises:
        SpecError: nothing is there, no Ray is, or it wants a token that we do not have.
            Or Ray is told to send a token, and there is none.
    """
    if address.startswith("ray://"):
        # Ray Client has no streaming generators, by which a task tells of its progress.
        raise no_cluster(address, "a Ray Client connection cannot run a job; use flexkd submit")
    place = _address_of_auto() if address == "auto" else address
    host, _, port = place.rpartition(":")
    if not port.isdigit():
        use_token_if_there()
        return  # a name that Ray knows or refuses by itself
    host = host.strip("[]")
    told = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
    # A job's driver gets its token from the node that it runs on, as every worker there does.
    given = IN_A_JOB in os.environ and told
    if mode_of(place, host, int(port)) == "token":
        if not given:
            _check_token(place, host, int(port))
        os.environ["RAY_AUTH_MODE"] = "token"
    elif told and not given and find_token() is None:
        message = "RAY_AUTH_MODE=token has Ray send a token, and no token was found here"
        remedy = f"unset RAY_AUTH_MODE, as the cluster at {place} wants none; or {PLACES}"
        raise SpecError([Problem("--address", message, remedy)])


def _check_token(place: str, host: str, port: int) -> None:
    """Ask the cluster with our token: Ray would be refused only after it has started.

    Raises:
        SpecError: there is no token here, or the cluster refuses it.
    """
    token = find_token()
    message = f"the cluster at {place} is in token mode, and no token was found here"
    if token is not None:
        if _lets_in(place, host, port, token.text):
            return
        message = f"the cluster at {place} is in token mode and refuses the token of {token.place}"
    remedy = f"ask whoever runs it for the token, and {PLACES}"
    raise SpecError([Problem("--address", message, remedy)])


def _address_of_auto() -> str:
    """Where Ray looks first: the environment, then the note of the last `ray start` here."""
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    try:
        place = note.read_text(encoding="utf-8").strip()
        host, _, port = place.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return "auto"  # an old note; Ray looks further
    return place


def mode_of(address: str, host: str, port: int) -> Mode:
    """Whether the cluster there wants a token.

    Raises:
        SpecError: there is none.
    """
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, str(error)) from None
    return "open" if _lets_in(address, host, port) else "token"


def _lets_in(address: str, host: str, port: int, token: str = "") -> bool:
    """Whether the cluster answers who sends this token, or none.

    Raises:
        SpecError: what listens there is no cluster, or does not answer.
    """
    sent = [("authorization", f"Bearer {token}")] if token else None
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(target, [("grpc.enable_http_proxy", 0)]) as channel:
        ask = channel.unary_unary(QUESTION)
        try:
            ask(b"", timeout=ANSWER_SECONDS, metadata=sent)
        except ValueError:
            return False  # no token of Ray's has such characters
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return False
            reason = "what listens there is not Ray's GCS; with a dashboard, use flexkd submit"
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                reason = f"what listens there has not answered for {ANSWER_SECONDS:g} s"
            raise no_cluster(address, reason) from None
    return True


def no_cluster(address: str, reason: str) -> SpecError:
    """The error of an address where no cluster can be joined."""
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
