"""What can be asked of a student and its teacher, and what is answered. Nothing here reads torch.

Shapes: T tokens, D units, S student layers, L teacher layers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..plan import LayerRef
from ..spec import sha256_of

VERSION = 1
"""Raised when the same request gives another answer."""

Side = Literal["teacher", "student"]
Rows = tuple[tuple[float, ...], ...]
Cells = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Subject:
    """A finished student and its teacher, by the hashes of their artifacts.

    dataset: the data set that both read.
    """

    student: str
    teacher: str
    dataset: str


@dataclass(frozen=True)
class SimilarityRequest:
    """Linear CKA between all layers, on `examples` drawn examples of the validation split."""

    subject: Subject
    examples: int = 64


@dataclass(frozen=True)
class CorrelationsRequest:
    """C_m of each pair of units, on `examples` drawn examples of the validation split."""

    subject: Subject
    examples: int = 256


@dataclass(frozen=True)
class ActivationsRequest:
    """|h| over the tokens and units of one layer, for one example of the validation split.

    layer: as `LayerRef`; `last` is what the head reads.
    """

    subject: Subject
    side: Side
    row: int = 0
    layer: LayerRef = "last"


Request = SimilarityRequest | CorrelationsRequest | ActivationsRequest


def cache_key(request: Request) -> str:
    """SHA-256 of a request: its subject's artifacts are named by content."""
    return sha256_of({"kind": type(request).__name__, "version": VERSION, **asdict(request)})


@dataclass(frozen=True)
class Similarity:
    """Linear CKA (Kornblith et al. 2019) of each student layer with each teacher layer.

    cka: (S, L), in [0, 1]; None between an encoder and a decoder, whose rows are of other tokens.
    rows: of features on each side, by stack: one an example for a task with labels, the tokens that
        the feature loss compares for others.
    """

    student_layers: tuple[LayerRef, ...]
    teacher_layers: tuple[LayerRef, ...]
    cka: Cells
    rows: tuple[int, ...]
    examples: int

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Similarity:
        """The inverse of `asdict` and JSON."""
        ours, theirs = (tuple(value[f"{side}_layers"]) for side in ("student", "teacher"))
        return cls(ours, theirs, _rows(value["cka"]), tuple(value["rows"]), value["examples"])


@dataclass(frozen=True)
class LayerCorrelation:
    """C_m of the units of one pair of layers, by student unit.

    matched: the teacher unit of each, or its direction.
    """

    student: LayerRef
    teacher: LayerRef
    matched: tuple[int, ...]
    correlation: tuple[float, ...]
    target: Literal["units", "directions"] = "units"


@dataclass(frozen=True)
class Correlations:
    """C_m of a finished student; rows: as of `Similarity`."""

    layers: tuple[LayerCorrelation, ...]
    rows: tuple[int, ...]
    examples: int

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Correlations:
        """The inverse of `asdict` and JSON."""
        layers = tuple(
            LayerCorrelation(
                one["student"],
                one["teacher"],
                tuple(one["matched"]),
                tuple(one["correlation"]),
                one["target"],
            )
            for one in value["layers"]
        )
        return cls(layers, tuple(value["rows"]), value["examples"])


@dataclass(frozen=True)
class Activations:
    """The magnitudes of one layer's hidden state.

    tokens: as the tokenizer writes them.
    magnitudes: (T, D).
    layers: all that the model has, to choose from.
    """

    tokens: tuple[str, ...]
    magnitudes: Rows
    layer: LayerRef
    layers: tuple[LayerRef, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Activations:
        """The inverse of `asdict` and JSON."""
        tokens, layers = tuple(value["tokens"]), tuple(value["layers"])
        return cls(tokens, _rows(value["magnitudes"]), value["layer"], layers)


Result = Similarity | Correlations | Activations

RESULTS: dict[type[Request], type[Result]] = {
    SimilarityRequest: Similarity,
    CorrelationsRequest: Correlations,
    ActivationsRequest: Activations,
}
"""What answers each kind of request."""


def _rows(value: list[list[Any]]) -> Any:
    return tuple(tuple(row) for row in value)
