"""What a finished student and its teacher compute on a few examples: for people to look at.

Nothing here is an artifact: it is computed on demand from published weights, on the CPU, and cached
on this machine. `compute` imports torch when it is called.
"""

from .compute import cached, compute
from .records import (
    Activations,
    ActivationsRequest,
    Correlations,
    CorrelationsRequest,
    LayerCorrelation,
    Request,
    Result,
    Side,
    Similarity,
    SimilarityRequest,
    Subject,
)
from .subject import subject_of
from .waiting import Failed, Waiting, Worker

__all__ = [
    "Activations",
    "ActivationsRequest",
    "Correlations",
    "CorrelationsRequest",
    "Failed",
    "LayerCorrelation",
    "Request",
    "Result",
    "Side",
    "Similarity",
    "SimilarityRequest",
    "Subject",
    "Waiting",
    "Worker",
    "cached",
    "compute",
    "subject_of",
]
