"""Teachers and students: found, checked, loaded, made smaller, saved.

`locate` finds a model and `check_model` says everything that is wrong with it before anything
starts; `load_with_head` and `build_student` make the models; `hidden_layers`, `LayerTap` and
`head_rows` are how scoring and distillation reach inside them.
"""

from .check import check_model
from .check_student import check_layer, check_student
from .errors import ModelError
from .facts import ModelFacts
from .families import FAMILIES, Family, family_of
from .head import head_rows
from .layers import hidden_layers, layer_index
from .loading import load_tokenizer, load_with_head
from .locate import locate
from .saving import load_saved, save_model
from .slicing import SLICES
from .student import build_student
from .tap import LayerTap

__all__ = [
    "FAMILIES",
    "SLICES",
    "Family",
    "LayerTap",
    "ModelError",
    "ModelFacts",
    "build_student",
    "check_layer",
    "check_model",
    "check_student",
    "family_of",
    "head_rows",
    "hidden_layers",
    "layer_index",
    "load_saved",
    "load_tokenizer",
    "load_with_head",
    "locate",
    "save_model",
]
