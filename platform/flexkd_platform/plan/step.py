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
    """Everything that decides the result of one step; a subclass is a frozen dataclass.

    The fields are the settings and fingerprints, which `to_identity` writes, and the steps whose
    artifacts are read, which `needs` names. A field that neither of them covers is read when the
    step runs and does not decide its result, as the path of a model.
    """

    kind: ClassVar[StepKind]

    @abstractmethod
    def to_identity(self) -> dict[str, Any]:
        """The settings and fingerprints as JSON: never a path, a host, a clock or a worker count.

        It is part of the hash, so that a field that is added later is left out at its default.
        """

    def needs(self) -> dict[str, Step]:
        """The steps whose artifacts are read, by role, dependencies first. Part of the hash."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The identity as a trial reports it: without the seed where that is the trial's own."""
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
        """Every step that must exist before this one, dependencies first, none twice."""
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
