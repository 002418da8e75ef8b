"""Teachers and students: check, load, cut and save models.

`check_model` reports all problems of a model before anything starts. `load_with_head`,
`load_language_model` and `build_student` create the models, `make_base` one from a config alone.
Scoring and distillation access their internals with `stacks`, `HiddenStateHook`, `head_rows` and
`OutputRows`.
"""

from .base import make_base, make_base_tokenizer
from .check import check_model
from .check_config import check_config
from .check_lora import check_lora
from .check_student import check_student
from .config_facts import stack_shapes, tokenizer_digest
from .device_map import placed
from .encoder import load_encoder
from .head import head_rows, reads_mean
from .hidden_state_hook import HiddenStateHook
from .label_unit import label_unit
from .language_model import load_language_model
from .layers import hidden_layer, hidden_layers, stacks
from .loading import load_tokenizer, load_with_head
from .lora import LoraStudent, add_lora, base_source
from .onnx_export import export_onnx, missing_packages
from .output_rows import OutputHead, OutputRows, output_head
from .portable import output_labels, set_decoding, set_tokenizer
from .saving import load_saved, save_model
from .slices import SLICES
from .student import build_student

__all__ = [
    "SLICES",
    "HiddenStateHook",
    "LoraStudent",
    "OutputHead",
    "OutputRows",
    "add_lora",
    "base_source",
    "build_student",
    "check_config",
    "check_lora",
    "check_model",
    "check_student",
    "head_rows",
    "hidden_layer",
    "export_onnx",
    "hidden_layers",
    "label_unit",
    "load_encoder",
    "load_language_model",
    "load_saved",
    "load_tokenizer",
    "load_with_head",
    "make_base",
    "make_base_tokenizer",
    "missing_packages",
    "output_head",
    "output_labels",
    "placed",
    "reads_mean",
    "save_model",
    "set_decoding",
    "set_tokenizer",
    "stack_shapes",
    "stacks",
    "tokenizer_digest",
]
