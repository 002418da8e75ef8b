"""Methods that train what another method trains are warned about, and names are suggested."""

from __future__ import annotations

import pytest

from flexkd_platform.preflight.repeated import repeated_warnings
from flexkd_platform.spec import SpecError, parse_spec

SPEC = """\
name: repeated
task: {{kind: classification, data: {{source: builtin, train: 24, validation: 8, test: 8}}}}
teacher: {{model: teacher}}
student: {{init: {{kind: random, layers: 1, hidden_size: 8}}}}
sweep: {{methods: [{methods}], seeds: [10]}}
evaluate: {{metrics: [{metric}]}}
"""


def warned(methods: str) -> list[tuple[str, str]]:
    spec = parse_spec(SPEC.format(methods=methods, metric="accuracy"))
    return [(warning.path, warning.message) for warning in repeated_warnings(spec)]


def test_a_method_that_is_listed_twice_is_named_with_the_first() -> None:
    twice = "{kind: ft}, {kind: kd, beta: 0.5}, {kind: kd}, {kind: kd, beta: 0.25}"
    assert warned(twice) == [
        ("sweep.methods[2]", "kd with the settings of sweep.methods[1], whose trials it shares")
    ]
    assert warned("{kind: ft}, {kind: kd}, {kind: kd, beta: 0.25}") == []


@pytest.mark.parametrize("kind", ["flexkd", "projector", "cka"])
def test_a_feature_method_without_a_feature_loss_is_what_is_left_of_it(kind: str) -> None:
    alone = f"{kind} trains as ft with these weights"
    with_logits = f"{kind} trains as kd with these weights"
    zero = "0 leaves the feature loss out: "
    path = "sweep.methods[0].alpha"
    assert warned(f"{{kind: {kind}, alpha: 0}}") == [(path, zero + alone)]
    assert warned(f"{{kind: {kind}, alpha: 0, beta: 1}}") == [(path, zero + with_logits)]
    assert warned(f"{{kind: {kind}, alpha: 0.1}}") == []


@pytest.mark.parametrize(
    ("methods", "metric", "hint"),
    [
        ("{kind: flexdk}", "accuracy", "did you mean 'flexkd'? allowed: 'ft', 'kd'"),
        ("{kind: projetor}", "accuracy", "did you mean 'projector'?"),
        ("{kind: ft}", "acuracy", "did you mean 'accuracy'?"),
        ("{kind: flexkd, pairing: machted}", "accuracy", "did you mean 'matched'?"),
        ("{kind: flexkd, alhpa: 1}", "accuracy", "did you mean 'alpha'?"),
    ],
)
def test_a_name_that_is_close_is_suggested(methods: str, metric: str, hint: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(SPEC.format(methods=methods, metric=metric))
    (problem,) = refused.value.problems
    assert problem.remedy.startswith(hint)
