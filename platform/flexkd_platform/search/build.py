"""Build the plan of a spec: its steps and trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..plan.facts import FactsOf
from ..plan.planner import Plan, Planner
from ..spec import JobSpec, OptunaSearch, RandomSearch, SpecError
from .refused import Refused, empty_searches
from .space import Search, Space, grid_points, method_spaces, random_points, unread


def build_plan(spec: JobSpec, facts_of: FactsOf) -> Plan:
    """Expand methods, axes and seeds; two points that result in the same training are one trial.

    For a search that chooses its points from results, the plan is the first round, which depends on
    none. A sampled point that results in an invalid spec is left out.

    Raises:
        SpecError: a listed point results in an invalid spec, or all points sampled for a method do.
    """
    spaces = method_spaces(spec, facts_of)
    if isinstance(spec.sweep.search, OptunaSearch) and spaces:
        # Optuna takes half a second to import, so other jobs do not import it.
        from .rounds import Rounds

        rounds = Rounds(Search(spec, facts_of, spaces))
        left = {asked.place for asked in rounds.ask()}
        plan = rounds.plan()
    else:
        plan, left = _whole(spec, facts_of, spaces)
    if problems := empty_searches(spec, plan.refused, left):
        raise SpecError(problems)
    return plan


def _whole(spec: JobSpec, facts_of: FactsOf, spaces: Mapping[int, Space]) -> tuple[Plan, set[int]]:
    """The plan of a search that needs no results, and the indices of methods that have a trial."""
    planner, refused, left = Planner(spec, facts_of), [], set()
    search = spec.sweep.search
    for place, method in enumerate(spec.sweep.methods):
        space = spaces.get(place)
        if space is None:
            left.add(place)
            for point in grid_points(spec):
                planner.add(place, point, unread(spec, point))
            continue
        assert isinstance(search, RandomSearch)
        for point in random_points(space, search.samples, search.seed):
            try:
                planner.add(place, point, unread(spec, space))
                left.add(place)
            except SpecError as error:
                refused.append(Refused(method.kind, place, point, error.problems))
    return replace(planner.plan(), refused=tuple(refused)), left
