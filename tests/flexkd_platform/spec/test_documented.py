"""What the pages say of the spec is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flexkd_platform.spec import METHODS, FeatureMethod, LogitMethod, json_schema, load_spec

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_field_is_named_on_a_page() -> None:
    schema = json_schema()
    sections = {"JobSpec": schema, **schema["$defs"]}
    fields = {field for section in sections.values() for field in section.get("properties", {})}
    assert {"score", "alpha", "subset_seed"} <= fields
    words = set(re.findall(r"\w+", "".join(path.read_text(encoding="utf-8") for path in PAGES)))
    assert fields - words == set()


def test_default_weights_of_the_methods() -> None:
    """As the sentence in methods.md has them."""
    said = " ".join(page("methods.md").split())
    assert "`kd` has β = 0.5 and λ = 0.5; the other logit methods β = 1 and λ = 0; feature" in said
    assert "methods α = 0.5, β = 0 and λ = 0.5. `ft` and `seqkd` have none" in said
    for name, method in METHODS.items():
        given: dict[str, Any] = method.model_validate({"kind": name}).to_json()
        weights = {weight: given.get(weight) for weight in ("alpha", "beta", "lambda")}
        if name == "kd":
            assert weights == {"alpha": None, "beta": 0.5, "lambda": 0.5}
        elif issubclass(method, LogitMethod):
            assert weights == {"alpha": None, "beta": 1.0, "lambda": 0.0}
        elif issubclass(method, FeatureMethod):
            assert weights == {"alpha": 0.5, "beta": 0.0, "lambda": 0.5}
        else:
            assert name in {"ft", "seqkd"}
            assert set(weights.values()) == {None}


def test_the_job_on_the_way_to_a_cluster_is_the_quickstart() -> None:
    spec = load_spec(ROOT / "jobs" / "quickstart.yaml")
    named = set(re.findall(r"flexkd jobs \w+ (\S+)", page("cluster.md")))
    assert {name for name in named if "-" in name} == {f"{spec.id}-1"}


def test_settings_of_the_job_with_every_method() -> None:
    text = (ROOT / "jobs" / "review_methods.yaml").read_text(encoding="utf-8")
    spec = load_spec(ROOT / "jobs" / "review_methods.yaml")
    assert f"{len(spec.sweep.methods)} settings with three seeds" in text
