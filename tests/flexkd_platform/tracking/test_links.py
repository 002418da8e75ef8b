"""The pages of MLflow's UI that are printed and linked."""

from __future__ import annotations

import pytest

from flexkd_platform.tracking.links import TrackedJob, link_uri

TRAINING = "?workflowType=machine_learning"


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("http://team:5000", "http://team:5000"),
        ("https://team/mlflow/", "https://team/mlflow"),
        ("sqlite:////data/mlflow.db", "http://127.0.0.1:5000"),
        ("postgresql://ada:…@db/mlflow", "http://127.0.0.1:5000"),
    ],
)
def test_pages_open_as_training_runs(uri: str, server: str) -> None:
    job = TrackedJob(uri, "reviews", "7", "a1")
    assert job.runs_page == f"{server}/#/experiments/7/runs{TRAINING}"
    assert job.run_page("b2") == f"{server}/#/experiments/7/runs/b2{TRAINING}"


def test_links_hold_no_password() -> None:
    assert link_uri("https://ada:s3cret@team:5000/mlflow?token=x") == "https://team:5000/mlflow"
    assert "s3cret" not in link_uri("postgresql://ada:s3cret@db/mlflow")
    assert link_uri("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"
