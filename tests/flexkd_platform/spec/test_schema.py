"""The JSON Schema that editors complete from agrees with what is loaded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from flexkd_platform.spec import METHODS, JobSpec, json_schema, load_spec
from flexkd_platform.spec.document import parse_yaml
from flexkd_platform.spec.methods import MethodName
from flexkd_platform.spec.schema import schema_at

JOBS_FOLDER = Path(__file__).parents[3] / "jobs"
JOBS = sorted(JOBS_FOLDER.rglob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_there_are_jobs() -> None:
    assert "quickstart.yaml" in {job.name for job in JOBS}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_every_job_fits_the_schema_and_loads(job: Path, validator: Any) -> None:
    validator.validate(parse_yaml(job.read_text(encoding="utf-8"), str(job)))
    load_spec(job)


def test_a_loaded_spec_fits_the_schema(load: Callable[..., JobSpec], validator: Any) -> None:
    validator.validate(load().to_json())


GOOD = [
    "sweep: {methods: [{kind: flexkd, alpha: [0.05, 0.5], loss: [mse, cosine]}]}",
    "sweep: {methods: [{kind: kd, lambda: [0, 1]}, {kind: cka, form: kornblith}]}",
    "sweep: {methods: [{kind: ft}], axes: {distill.epochs: [1, 2.5]}}",
    "task: {kind: regression, data: {source: hub, name: glue, config: stsb}}",
    "student: {init: {kind: sliced, layers: [1, 3]}}",
    "teacher: {finetune: null}",
    "teacher: {model: {config: {model_type: gpt2}, vocab_size: 512}}",
    "score: {layer: decoder.-1}",
    "score: {layer: -1}",
    "sweep: {methods: [{kind: cka, layers: {0: 2, -1: last}}]}",
    "sweep: {methods: [{kind: gram, layers: [last, every, {encoder.0: encoder.-1}]}]}",
    "sweep: {methods: [{kind: flexkd, beta: 1, logit: {kind: jsd, beta: 0.1, top_k: 5}}]}",
    "sweep: {methods: [{kind: minillm, on_policy: {share: 0.5}, top_k: [null, 10]}]}",
    "sweep: {methods: [{kind: seqkd, decoding: beam}]}",
    "evaluate: {decoding: {kind: beam, beams: 2}}",
    "task: {kind: instruction, data: {source: files, path: a, input: null}}",
    "task: {kind: summarization, evaluation: {more-news: {source: hub, name: xsum}}}",
    "student: {warm_up: {epochs: 1}}",
]

BAD = [
    "sweep: {methods: [{kind: flexkd, alpha: [0.05, -0.5]}]}",
    "sweep: {methods: [{kind: flexkd, alpha: []}]}",
    "sweep: {methods: [{kind: [ft, kd]}]}",
    "sweep: {methods: [{kind: nope}]}",
    "sweep: {methods: [{alpha: 1}]}",
    "sweep: {methods: []}",
    "sweep: {seeds: [1]}",
    "distill: {epochs: 0}",
    "distill: {epoch: 1}",
    "score: {layer: first}",
    "task: {max_length: 32}",
    "task: {kind: classification, data: {name: movie-reviews}}",
    "student: {init: {layers: 2}}",
    "name: Upper",
    "teacher: {model: {vocab_size: 512}}",
    "teacher: {model: {config: {model_type: gpt2}, vocab_size: 10}}",
    "score: {layer: middle.0}",
    "sweep: {methods: [{kind: cka, layers: first}]}",
    "sweep: {methods: [{kind: cka, layers: {}}]}",
    "sweep: {methods: [{kind: cka, layers: {first: 0}}]}",
    "sweep: {methods: [{kind: cka, layers: {0: first}}]}",
    "sweep: {methods: [{kind: flexkd, temperature: 4}]}",
    "sweep: {methods: [{kind: flexkd, logit: {beta: 0.1}}]}",
    "sweep: {methods: [{kind: kd, temperature: 0}]}",
    "sweep: {methods: [{kind: kd, top_k: 0}]}",
    "sweep: {methods: [{kind: skew_rkl, skew: -0.1}]}",
    "sweep: {methods: [{kind: tvd, on_policy: {share: 0}}]}",
    "evaluate: {decoding: {beams: 2}}",
    "evaluate: {decoding: {kind: greedy, beams: 2}}",
    "task: {kind: instruction, data: {source: files, path: a, text: b}}",
    "task: {kind: summarization, data: {source: files, path: a, instruction: b}}",
    "task: {kind: summarization, evaluation: {Upper: {source: builtin}}}",
]


def changed(line: str) -> dict[str, Any]:
    base = {"name": "quick", "sweep": {"methods": [{"kind": "ft"}]}}
    # An editor's schema sees the keys of `{0: 2}` as JSON has them.
    return {**copy.deepcopy(base), **json.loads(json.dumps(parse_yaml(line, "")))}


@pytest.mark.parametrize("line", GOOD)
def test_schema_and_loader_accept_the_same(
    line: str, validator: Any, load: Callable[..., JobSpec]
) -> None:
    data = changed(line)
    assert validator.is_valid(data)
    load(str(data).replace("None", "null"))


@pytest.mark.parametrize("line", BAD)
def test_schema_and_loader_reject_the_same(
    line: str, validator: Any, problems: Callable[..., Any]
) -> None:
    data = changed(line)
    assert not validator.is_valid(data)
    problems(str(data))


def test_every_setting_of_a_method_says_what_it_means() -> None:
    schema = json_schema()
    assert set(METHODS) == set(get_args(MethodName))
    for kind, section in METHODS.items():
        properties = schema["$defs"][section.__name__]["properties"]
        assert len(properties) > (0 if kind == "ft" else 2)
        for setting, node in properties.items():
            if setting != "kind":
                assert node["description"]
                assert node["anyOf"][1]["type"] == "array"


def test_schema_at_a_path_goes_by_the_data() -> None:
    data = {"sweep": {"methods": [{"kind": "ft"}, {"kind": "kd"}]}}
    assert set(schema_at(("sweep", "methods", 0), data)["properties"]) == {"kind"}
    assert "beta" in schema_at(("sweep", "methods", 1), data)["properties"]
    assert schema_at(("distill", "epochs"), {})["description"] == "passes over the training split"
    assert schema_at(("no", "such", 3, "path"), {}) == {}


def test_the_schema_beside_the_jobs_is_this_one() -> None:
    beside = json.loads((JOBS_FOLDER / "schema.json").read_text(encoding="utf-8"))
    assert beside == json_schema(), "run flexkd schema > jobs/schema.json"


def test_every_field_says_what_it_is() -> None:
    """But tags, which a variant's own name explains, and sections, which say it of themselves."""
    schema = json_schema()
    sections = schema["$defs"]
    silent = [
        f"{name}.{field}"
        for name, section in {"JobSpec": schema, **sections}.items()
        for field, said in section.get("properties", {}).items()
        if "description" not in said and "const" not in said
        if not sections.get(said.get("$ref", "").rpartition("/")[2], {}).get("description")
    ]
    assert silent == []
