"""Pages of MLflow's UI that show recorded runs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .redaction import shown_uri

TRAINING = "workflowType=machine_learning"
"""Opens an experiment with its runs; MLflow 3 opens it as a GenAI app without this parameter."""

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves by default."""


@dataclass(frozen=True)
class TrackedJob:
    """Where a job is recorded.

    uri: of the tracking store, without passwords.
    experiment: its name.
    run_id: of the job's run, the parent of its trials' runs.
    """

    uri: str
    experiment: str
    experiment_id: str
    run_id: str

    @property
    def is_server(self) -> bool:
        """Whether the store is a server, which has a UI of its own."""
        return self.uri.startswith("http")

    @property
    def runs_page(self) -> str:
        """The page of the experiment's runs; that of `mlflow ui` on this machine for databases."""
        return self._page("runs")

    def run_page(self, run_id: str) -> str:
        """The page of one run."""
        return self._page(f"runs/{run_id}")

    def _page(self, path: str) -> str:
        server = self.uri.rstrip("/") if self.is_server else LOCAL_UI
        return f"{server}/#/experiments/{self.experiment_id}/{path}?{TRAINING}"


def link_uri(uri: str) -> str:
    """The URI of a store without passwords; of a server, without the user too: it is for links."""
    parts = urlsplit(uri)
    if not parts.scheme.startswith("http"):
        return shown_uri(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
