"""From a spec to the steps and trials it asks for."""

from __future__ import annotations

from ..spec import JobSpec, OptunaSearch, RandomSearch
from .facts import FactsOf
from .planner import Plan, Planner
from .space import Search, grid_points, method_spaces, random_points, unread


def build_plan(spec: JobSpec, facts_of: FactsOf) -> Plan:
    """Expand methods, axes and seeds; two points that come to the same training are one trial.

    Of a search that chooses its points from results, the first round: it depends on none.

    Raises:
        SpecError: a point makes a spec that is not allowed.
    """
    spaces = method_spaces(spec, facts_of)
    search = spec.sweep.search
    if isinstance(search, OptunaSearch) and spaces:
        # Optuna takes half a second to import, which other jobs need not pay.
        from .rounds import Rounds

        rounds = Rounds(Search(spec, facts_of, spaces))
        rounds.ask()
        return rounds.plan()
    planner = Planner(spec, facts_of)
    for place in range(len(spec.sweep.methods)):
        space = spaces.get(place)
        if space is None:
            for point in grid_points(spec):
                planner.add(place, point, unread(spec, point))
        else:
            assert isinstance(search, RandomSearch)
            for point in random_points(space, search.samples, search.seed):
                planner.add(place, point, unread(spec, space))
    return planner.plan()
