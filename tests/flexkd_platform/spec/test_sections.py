"""Sections of a spec: methods, teachers, tasks and decodings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_core import LOGIT_LOSSES
from flexkd_platform.spec import (
    METHODS,
    TASK_KINDS,
    BlankModel,
    FeatureMethod,
    JobSpec,
    LayeredMethod,
    LogitLoss,
    LogitMethod,
    ResponseTask,
)

Load = Callable[..., JobSpec]


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_has_defaults_and_survives_its_json(kind: str, load: Load) -> None:
    (method,) = load(f"name: a\nsweep: {{methods: [{{kind: {kind}}}]}}\n").sweep.methods
    assert type(method) is METHODS[kind]
    again = type(method).model_validate_json(json.dumps(method.to_json()))
    assert again == method
    assert again.to_json() == method.to_json()


LOGIT_KINDS: dict[str, dict[str, Any]] = {
    "kd": {"kind": "forward_kl"},
    "minillm": {"kind": "reverse_kl"},
    "jsd": {"kind": "jsd", "beta": 0.5},
    "skew_fkl": {"kind": "skew_forward_kl", "skew": 0.1},
    "skew_rkl": {"kind": "skew_reverse_kl", "skew": 0.1},
    "tvd": {"kind": "tvd"},
    "uld": {"kind": "uld"},
}
LISTENERS = [kind for kind, m in METHODS.items() if issubclass(m, LogitMethod)]


def test_every_logit_method_is_its_loss_with_its_settings() -> None:
    assert set(LOGIT_KINDS) == set(LISTENERS)
    for kind, expected in LOGIT_KINDS.items():
        kept = {} if kind == "uld" else {"top_k": 7}
        method = METHODS[kind].model_validate({"kind": kind, "temperature": 3.0, **kept})
        assert isinstance(method, LogitMethod)
        assert method.logit_term.to_json() == expected | {
            "temperature": 3.0,
            "top_k": kept.get("top_k"),
        }
        settings = {k: v for k, v in expected.items() if k != "kind"}
        assert method.logit_term.settings == settings | {"temperature": 3.0}
        assert expected["kind"] in LOGIT_LOSSES


@pytest.mark.parametrize("kind", [k for k, m in METHODS.items() if issubclass(m, FeatureMethod)])
@pytest.mark.parametrize("loss", get_args(LogitLoss)[0].__args__)
def test_every_feature_method_takes_every_logit_loss(kind: str, loss: Any, load: Load) -> None:
    name = get_args(loss.model_fields["kind"].annotation)[0]
    text = f"{{kind: {kind}, beta: 1, logit: {{kind: {name}, temperature: 2}}}}"
    (method,) = load(f"name: a\nsweep: {{methods: [{text}]}}\n").sweep.methods
    assert isinstance(method, FeatureMethod)
    assert type(method.logit) is loss
    assert method.logit.temperature == 2
    assert name in LOGIT_LOSSES


LAYERED = [kind for kind, method in METHODS.items() if issubclass(method, LayeredMethod)]
REFS = st.integers(-12, 11) | st.builds(
    "{}.{}".format, st.sampled_from(["encoder", "decoder"]), st.integers(-12, 11)
)


@given(st.sampled_from(LAYERED), st.dictionaries(REFS, REFS | st.just("last"), min_size=1))
def test_layer_maps_are_text_to_layers(kind: str, layers: dict[int | str, int | str]) -> None:
    """YAML's `{0: 2}` has a number for a key, JSON's text; both are the same map."""
    method = METHODS[kind].model_validate({"kind": kind, "layers": layers})
    assert method.to_json()["layers"] == {str(ours): theirs for ours, theirs in layers.items()}
    assert METHODS[kind].model_validate_json(json.dumps(method.to_json())) == method


def test_layer_maps_in_a_file(load: Load) -> None:
    spec = load(
        "name: a\nsweep:\n  methods:\n"
        "    - {kind: cka, layers: {0: 2, -1: -1}}\n"
        "    - {kind: gram, layers: {encoder.0: encoder.-1, decoder.-1: last}}\n"
        "    - {kind: procrustes, layers: [last, every, {0: 1}]}\n"
    )
    assert [m.to_json()["layers"] for m in spec.sweep.methods] == [
        {"0": 2, "-1": -1},
        {"encoder.0": "encoder.-1", "decoder.-1": "last"},
        "last",
        "every",
        {"0": 1},
    ]


# --- sections beside the methods ---------------------------------------------------------------


def test_a_teacher_may_be_a_config(load: Load, text: str) -> None:
    model = load(
        text + "teacher: {model: {config: {model_type: gpt2, n_embd: 16}}}\n"
    ).teacher.model
    assert isinstance(model, BlankModel)
    assert model.config == {"model_type": "gpt2", "n_embd": 16}
    assert (model.vocab_size, model.seed) == (4096, 0)
    assert load(text + "teacher: {model: a/b}\n").teacher.model == "a/b"


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        ("{kind: greedy}", {"kind": "greedy"}),
        (
            "{kind: sample, top_k: 5}",
            {
                "kind": "sample",
                "temperature": 1.0,
                "top_p": 1.0,
                "top_k": 5,
                "seeds": [10, 20, 30, 40, 50],
            },
        ),
        (
            "{kind: beam, beams: 2}",
            {"kind": "beam", "beams": 2, "length_penalty": 1.0, "no_repeat_ngram": 0},
        ),
    ],
)
def test_decodings(decoding: str, expected: dict[str, Any], load: Load, text: str) -> None:
    found = load(text + f"evaluate: {{decoding: {decoding}}}\n").evaluate.decoding
    assert found is not None
    assert found.to_json() == expected


def test_every_task_that_writes_has_a_usual_decoding_and_length() -> None:
    writes = {name: kind for name, kind in TASK_KINDS.items() if issubclass(kind, ResponseTask)}
    # The paper's: five seeds of sampling for instructions, beams for summaries.
    usual = {name: (kind.decoding.kind, kind.max_new_tokens) for name, kind in writes.items()}
    assert usual == {"instruction": ("sample", 256), "summarization": ("beam", 128)}


@pytest.mark.parametrize("task", TASK_KINDS)
def test_a_task_kind_goes_by_its_name_and_chooses_by_one_of_its_metrics(task: str) -> None:
    kind = TASK_KINDS[task]
    assert get_args(kind.model_fields["kind"].annotation) == (task,)
    assert kind.validation_metric in kind.validation_metrics()
    assert set(kind.validation_metrics()) | kind.on_request | kind.lower_is_better <= {
        *kind.metrics
    }


@pytest.mark.parametrize("task", TASK_KINDS)
def test_metrics_on_request_are_reported_where_they_are_named_alone(task: str, load: Load) -> None:
    data = ", data: {source: hub, name: x}" if task != "summarization" else ""
    base = f"name: a\nsweep: {{methods: [{{kind: ft}}]}}\ntask: {{kind: {task}{data}}}\n"
    usual = load(base).metrics
    assert usual
    kind = TASK_KINDS[task]
    assert usual[0] == kind.metrics[0]
    assert not kind.on_request & set(usual)
    asked = sorted(kind.on_request)
    assert bool(asked) == (task != "multilabel")  # whose metrics are all usual
    assert set(usual) | set(asked) == set(kind.metrics)
    for metric in asked:
        assert load(base + f"evaluate: {{metrics: [{metric}]}}\n").metrics == (metric,)
