"""Tasks: texts as batches, text generation, supervised losses and metrics."""

from .batch import Batch, Examples
from .bertscore import bertscore
from .generation import decode, decoder_start, generate
from .heads import HEADS, Head, classification_metrics, head_of, register_head, regression_metrics
from .next_token import token_positions
from .prompts import GenerationExamples, encode_documents, encode_prompts, encode_responses
from .rouge import mean_rouge, rouge
from .sampling import draw_responses
from .text import LabelExamples, encode_texts
from .unlabelled import has_label, without_label

__all__ = [
    "HEADS",
    "head_of",
    "register_head",
    "Batch",
    "Examples",
    "GenerationExamples",
    "Head",
    "LabelExamples",
    "bertscore",
    "classification_metrics",
    "decode",
    "decoder_start",
    "draw_responses",
    "encode_documents",
    "encode_prompts",
    "encode_responses",
    "encode_texts",
    "generate",
    "has_label",
    "mean_rouge",
    "regression_metrics",
    "rouge",
    "token_positions",
    "without_label",
]
