"""How text is generated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Greedy(Section):
    """Always the most likely token."""

    kind: Literal["greedy"]


class Sampling(Section):
    """Tokens drawn from the model's distribution, once for each seed; metrics are their mean."""

    kind: Literal["sample"] = "sample"
    temperature: float = Field(1.0, gt=0, description="logits are divided by it")
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens of this probability")
    top_k: int | None = Field(None, gt=0, description="only the likeliest tokens; all if left out")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        (10, 20, 30, 40, 50), description="seeds of the generations"
    )


class Beam(Section):
    """Beam search."""

    kind: Literal["beam"] = "beam"
    beams: int = Field(4, gt=1, description="beams")
    length_penalty: float = Field(1.0, description="exponent of the length that scores divide by")
    no_repeat_ngram: int = Field(0, ge=0, description="n-grams of this size occur once; 0: any")


Decoding = Annotated[Greedy | Sampling | Beam, Field(discriminator="kind")]
