"""A step: a typed config, the steps that it reads, and the hash that names its artifact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeGuard

from typing_extensions import TypeVar

from ..spec import sha256_of
from .step_kind import StepKind


class StepConfig(ABC):
    """Everything that determines the result of one step; a subclass is a frozen dataclass.

    The fields are the settings and fingerprints, which `to_identity` returns, and the steps whose
    artifacts are read, which `needs` returns. A field in neither of them is read when the step runs
    and does not affect its result, such as the path of a model.
    """

    kind: ClassVar[StepKind]

    @abstractmethod
    def to_identity(self) -> dict[str, Any]:
        """The settings and fingerprints as JSON: never a path, a host, a clock or a worker count.

        It is part of the hash: omit a field that is added later while it has its default.
        """

    def needs(self) -> dict[str, Step]:
        """The steps whose artifacts are read, by role, dependencies first. Part of the hash."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The identity as a trial reports it: without the seed if that is the trial's seed."""
        return self.to_identity()


ConfigT = TypeVar("ConfigT", bound=StepConfig, default=StepConfig, covariant=True)


@dataclass(frozen=True)
class Step(Generic[ConfigT]):
    """A function from artifacts and a config to one artifact."""

    config: ConfigT

    @property
    def kind(self) -> str:
        """The name of the step's kind."""
        return self.config.kind.name

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The config as JSON, for the hash and for people. Code reads `config`."""
        return self.config.to_identity()

    @cached_property
    def needs(self) -> Mapping[str, Step]:
        """The steps whose artifacts are read, by role."""
        return self.config.needs()

    @cached_property
    def hash(self) -> str:
        """SHA-256 of kind, code version, identity and the hashes of the steps that are read."""
        return sha256_of(
            {
                "kind": self.kind,
                "code": self.config.kind.version,
                "identity": self.identity,
                "needs": {role: step.hash for role, step in self.needs.items()},
            }
        )

    def upstream(self) -> Iterator[Step]:
        """Every step that must exist before this one, dependencies first, without duplicates."""
        seen: set[str] = set()
        for step in self.needs.values():
            for needed in (*step.upstream(), step):
                if needed.hash not in seen:
                    seen.add(needed.hash)
                    yield needed


WantedT = TypeVar("WantedT", bound=StepConfig)


def has_config(step: Step, config: type[WantedT]) -> TypeGuard[Step[WantedT]]:
    """Whether the step's config is of a class."""
    return isinstance(step.config, config)


def with_config(steps: Iterable[Step], config: type[WantedT]) -> list[Step[WantedT]]:
    """The steps whose config is of a class, in order."""
    return [step for step in steps if has_config(step, config)]
