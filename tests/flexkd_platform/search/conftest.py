"""The made-up world of the tests of plans."""

from __future__ import annotations

from ..plan.conftest import facts_of_fixture, plan, spec, writing

__all__ = ["facts_of_fixture", "plan", "spec", "writing"]
