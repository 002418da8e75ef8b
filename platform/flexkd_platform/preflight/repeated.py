"""Warnings about methods of a sweep that train what another one trains."""

from __future__ import annotations

from collections.abc import Iterator

from ..spec import FeatureMethod, JobSpec, Problem


def repeated_warnings(spec: JobSpec) -> Iterator[Problem]:
    """Methods that are listed twice, and feature methods without a feature loss."""
    methods = spec.sweep.methods
    for place, method in enumerate(methods):
        path = f"sweep.methods[{place}]"
        first = methods.index(method)
        kind = method.to_json()["kind"]
        if first < place:
            yield Problem(
                path,
                f"{kind} with the settings of sweep.methods[{first}], whose trials it shares",
                "remove it, or change one of its settings",
            )
        elif isinstance(method, FeatureMethod) and not method.uses_features:
            same = "kd" if method.beta > 0 else "ft"
            yield Problem(
                f"{path}.alpha",
                f"0 leaves the feature loss out: {kind} trains as {same} with these weights",
                f"give alpha a value greater than 0, or name the method {same}",
            )
