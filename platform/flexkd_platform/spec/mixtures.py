"""Scale the Jensen–Shannon divergence where a spec sweeps its mixture.

Unscaled, the divergence vanishes towards both ends of the mixture, so that its values at several
mixtures are also several strengths. A spec that says `scaled` itself is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def scale_listed_mixtures(method: dict[str, Any]) -> dict[str, Any]:
    """A method of a spec, with `scaled` where it lists several mixtures of a divergence."""
    if method.get("kind") == "jsd" and _several(method.get("mixture")):
        return {"scaled": True} | method
    terms = method.get("logit")
    return {**method, "logit": _scaled_terms(terms)} if isinstance(terms, list) else method


def scale_drawn_mixtures(methods: list[Any], space: Mapping[str, Any]) -> None:
    """Set `scaled` in the methods whose mixture is drawn from a distribution of `space`."""
    for number, method in enumerate(methods):
        if not isinstance(method, dict):
            continue
        path = f"sweep.methods[{number}]"
        if method.get("kind") == "jsd" and _varies(space.get(f"{path}.mixture")):
            method.setdefault("scaled", True)
        term: Any = method.get("logit")
        if _diverges(term) and _varies(space.get(f"{path}.logit.beta")):
            method["logit"] = {"scaled": True} | term
        drawn = space.get(f"{path}.logit")
        if isinstance(drawn, dict) and isinstance(terms := drawn.get("choice"), list):
            drawn["choice"] = _scaled_terms(terms)


def _scaled_terms(terms: list[Any]) -> list[Any]:
    """The listed logit losses, scaled if their divergences have several mixtures."""
    mixtures = [term.get("beta", 0.5) for term in terms if _diverges(term)]
    if not _several(mixtures):
        return terms
    return [{"scaled": True} | term if _diverges(term) else term for term in terms]


def _diverges(term: Any) -> bool:
    return isinstance(term, dict) and term.get("kind") == "jsd"


def _several(values: Any) -> bool:
    """Whether a value is a list of different values."""
    return isinstance(values, list) and any(value != values[0] for value in values)


def _varies(drawn: Any) -> bool:
    """Whether a distribution has more than one value."""
    if not isinstance(drawn, dict):
        return False
    return _several(drawn["choice"]) if "choice" in drawn else bool(drawn)
