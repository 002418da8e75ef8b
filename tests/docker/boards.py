"""The queries of the Grafana boards."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from .conftest import BOARDS, DOCKER

ALERTS = DOCKER / "prometheus" / "alerts.yaml"

VARIABLES = {"$node": ".*", "$job": ".*", "$user": ".*", "$__rate_interval": "1m"}
"""What stands for the variables that Grafana fills in."""


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(BOARDS.glob("*.json"))]


def alerts() -> dict[str, str]:
    """The query of each alert by name."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def queries() -> list[str]:
    """Each query of each panel, with its variables filled in."""
    found = [
        target["expr"]
        for board in boards()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    for name, value in VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    return found


def metrics(query: str) -> set[str]:
    """The metrics that a query asks for: names that are neither labels nor PromQL's own."""
    bare = re.sub(r"\{[^}]*\}", "", query)
    bare = re.sub(r"\b(by|on|without) ?\([^)]*\)", "", bare)
    return set(re.findall(r"\bray_\w+", bare))
