"""What tests of plans share: the methods by kind, and what a plan holds by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flexkd_platform.plan import Plan, Trial
from flexkd_platform.spec import METHODS, FeatureMethod, LayeredMethod, LogitMethod

Planner = Callable[..., Plan]

OF_OUTPUTS = tuple(name for name, method in METHODS.items() if issubclass(method, LogitMethod))
OF_FEATURES = tuple(name for name, method in METHODS.items() if issubclass(method, FeatureMethod))
LAYERED = [name for name, method in METHODS.items() if issubclass(method, LayeredMethod)]
TEACHED = (*OF_OUTPUTS, *OF_FEATURES)
LABELLED = ("ft", *TEACHED)
"""The methods of tasks whose students write no text, in the table's order."""
WRITING = ("instruction", "summarization")


def hashes(plan: Plan) -> dict[str, set[str]]:
    """Kind of step → hashes; a trial's own steps by method, as `distill ft`."""
    found: dict[str, set[str]] = {}
    for step in plan.shared:
        name = f"cache {step.config.holds}" if step.kind == "cache" else step.kind
        found.setdefault(name, set()).add(step.hash)
    for trial in plan.trials:
        for step in (trial.distill, trial.evaluate):
            found.setdefault(f"{step.kind} {trial.method}", set()).add(step.hash)
    return found


def needs(trial: Trial) -> set[str]:
    return set(trial.distill.needs)


def only(plan: Planner, *methods: dict[str, Any], **changes: Any) -> Plan:
    return plan({"sweep.methods": list(methods)} | changes)
