"""Values come back from strings as they were."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.tracking import Json, encoding
from flexkd_platform.tracking.encoding import cut, decode_value, encode_value, param_name, with_job

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(json_values)
def test_values_survive(value: Json) -> None:
    assert decode_value(encode_value(value)) == value


@given(st.text(max_size=5))
def test_text_that_reads_as_a_number_stays_text(end: str) -> None:
    for text in ("0.5", "null", "true", f'"{end}', f" {end} "):
        assert decode_value(encode_value(text)) == text


def test_there_is_nothing_that_could_be_dropped_or_trimmed() -> None:
    for text in ("", " ", " a", "a "):
        assert encode_value(text) == f'"{text}"'  # a REST server drops empty values
    assert encode_value("sst2") == "sst2"


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_cut_texts_fit_and_stay_different(left: str, right: str) -> None:
    assert len(cut(left, 60)) <= 60
    assert (cut(left, 60) == cut(right, 60)) == (left == right)


@given(st.text())
def test_names_are_such_as_mlflow_takes(path: str) -> None:
    from mlflow.utils.validation import validate_param_and_metric_name

    name = param_name(path)
    assert validate_param_and_metric_name(name)  # type: ignore[no-untyped-call]
    assert len(name) <= encoding.KEY_LIMIT


def test_limits_are_those_of_mlflow() -> None:
    from mlflow.utils import validation

    assert validation.MAX_PARAM_VAL_LENGTH == encoding.PARAM_LIMIT
    assert validation.MAX_TAG_VAL_LENGTH == encoding.TAG_LIMIT
    assert validation.MAX_ENTITY_KEY_LENGTH == encoding.KEY_LIMIT


def test_the_list_of_jobs_names_each_once_and_drops_the_oldest() -> None:
    jobs = ""
    for number in range(300):
        jobs = with_job(with_job(jobs, f"{number:064d}"), f"{number:064d}")
    hashes = jobs.split(",")
    assert len(jobs) <= encoding.TAG_LIMIT
    assert hashes == [f"{n:064d}" for n in range(300 - len(hashes), 300)]


def test_canonical_json_of_params_is_json() -> None:
    assert json.loads(encode_value({"a": [1, None]})) == {"a": [1, None]}
