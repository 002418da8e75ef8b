"""The Ray Jobs client, with timeouts, without redirects and without Ray's own log messages."""

from __future__ import annotations

import logging
import os
from typing import Any

import requests
from ray.exceptions import RayError
from ray.job_submission import JobSubmissionClient
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..cluster.dashboard import Dashboard
from ..spec import Problem, SpecError
from .logs import LostClusterError

REQUEST_SECONDS = (10.0, 120.0)
"""Connect and read timeouts; Ray's own client has none."""

RAYS_LOGGERS = ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")

RAYS_ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that override the address passed to Ray's client."""


class LostAnswerError(LostClusterError):
    """A job was submitted, and it is unknown whether the cluster accepted it."""


class PatientClient(JobSubmissionClient):  # type: ignore[misc]
    """Ray's client with timeouts, without redirects, and with our headers only.

    Without these headers, and with `RAY_AUTH_MODE` set to `token`, it would send a token to a
    cluster that requires none, or fail if there is no token.
    """

    def __init__(self, dashboard: Dashboard) -> None:
        super().__init__(dashboard.url, headers={"Authorization": "", **dashboard.headers})
        self._headers = dict(dashboard.headers)

    def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
        more.setdefault("timeout", REQUEST_SECONDS)
        handing_over = (method, endpoint) == ("POST", "/api/jobs/")
        try:
            # A redirected POST would become a GET.
            answer = super()._do_request(method, endpoint, allow_redirects=False, **more)
        except requests.RequestException as error:
            if handing_over and not _never_left(error):
                raise LostAnswerError(f"lost {self._address}: {short(error)}") from None
            raise
        if answer.is_redirect:
            target = answer.headers["Location"].partition("?")[0]
            raise RuntimeError(f"{self._address} redirects to {target}")
        if handing_over and answer.status_code in {502, 503, 504}:  # of a proxy before the head
            status = f"status code {answer.status_code}"
            raise LostAnswerError(f"lost {self._address}: {status}")
        return answer


def open_client(dashboard: Dashboard) -> JobSubmissionClient:
    """Open Ray's client of a cluster.

    Raises:
        SpecError: the cluster does not answer.
    """
    # Ray logs every package that it uploads; errors are raised anyway.
    for name in RAYS_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    aside = {name: os.environ.pop(name) for name in RAYS_ADDRESSES if name in os.environ}
    try:
        return PatientClient(dashboard)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        problem = Problem(
            "--address",
            f"no Ray cluster answers at {dashboard.url}: {short(error)}",
            "check the cluster with `ray status` on its head",
        )
        raise SpecError([problem]) from None
    finally:
        os.environ.update(aside)


def _never_left(error: requests.RequestException) -> bool:
    """Whether a request failed before it was sent, since there was no connection."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    early = (ConnectTimeoutError, NewConnectionError)
    return isinstance(error, requests.exceptions.SSLError) or isinstance(reason, early)


def short(error: Exception) -> str:
    """Shorten an error to its innermost reason."""
    text = " ".join(str(error).split())
    for mark in ("Connection refused", "timed out", "Name or service not known", "reset by peer"):
        if mark in text:
            return mark.lower()
    return text if len(text) <= 160 else f"{text[:159]}…"
