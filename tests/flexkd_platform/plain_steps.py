"""Steps of any identity, for tests of what does not look into a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flexkd_platform.plan import KINDS, Step, StepConfig, StepKind


@dataclass(frozen=True)
class PlainConfig(StepConfig):
    """An identity and needs as they are given."""

    kind: StepKind  # type: ignore[misc]  # of the step, and not of the class
    identity: Mapping[str, Any]
    needed: Mapping[str, Step]

    def to_identity(self) -> dict[str, Any]:
        """What was given."""
        return dict(self.identity)

    def needs(self) -> dict[str, Step]:
        """What was given."""
        return dict(self.needed)


def plain_step(
    kind: str, identity: Mapping[str, Any], needs: Mapping[str, Step] | None = None
) -> Step[PlainConfig]:
    """A step of a known kind."""
    return Step(PlainConfig(KINDS[kind], identity, needs or {}))
