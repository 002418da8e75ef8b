"""Options that commands share. Imports are minimal, so that `flexkd --help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORAGE = "flexkd-storage"

IN_STORAGE = "SQLite in the storage"
"""The default tracking store, as shown in the help."""

SpecArgument = Annotated[Path, typer.Argument(help="job spec in YAML", show_default=False)]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="path=value, changes the spec; repeatable", metavar="PATH=VALUE"),
]
StorageOption = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="FLEXKD_STORAGE",
        help="folder or URI (s3://…) of artifacts and jobs",
        metavar="URI",
    ),
]
TrackingOption = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database; none: record nothing",
        metavar="URI",
        show_default=IN_STORAGE,
    ),
]
ReadTrackingOption = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database that is read",
        metavar="URI",
        show_default=IN_STORAGE,
    ),
]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        help="local: start Ray here; none: without Ray; auto or host:port: a cluster",
        metavar="ADDRESS",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="machine-readable output")]

DashboardOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        help="address of the cluster's dashboard",
        metavar="URL",
    ),
]
DASHBOARD = "http://127.0.0.1:8265"
