"""The Pareto front against a search by its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.results import front

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


@given(POINTS)
def test_the_front_has_exactly_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    costs, qualities = [float(cost) for cost, _ in points], [float(good) for _, good in points]
    found = front(costs, qualities)
    for place, (cost, good) in enumerate(points):
        beaten = any(c <= cost and q >= good and (c, q) != (cost, good) for c, q in points)
        assert (place in found) == (not beaten)
    assert [costs[place] for place in found] == sorted(costs[place] for place in found)
