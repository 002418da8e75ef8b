"""Information about a model from its files: its location, its architecture, its facts.

Nothing here imports torch or transformers, which take seconds; `models` creates and loads models.
"""

from .errors import ModelError
from .facts import UNLIMITED, ModelFacts
from .families import FAMILIES, family_of
from .family import Family, Stack
from .layers import check_layer, layer_index, resolve_layers
from .locate import locate
from .packing import PACKED

__all__ = [
    "FAMILIES",
    "PACKED",
    "UNLIMITED",
    "Family",
    "ModelError",
    "ModelFacts",
    "Stack",
    "check_layer",
    "family_of",
    "layer_index",
    "locate",
    "resolve_layers",
]
