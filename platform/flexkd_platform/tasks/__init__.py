"""Tasks: texts as batches, text generation, supervised losses and metrics."""

from .alignment import Mark, document_marks, paired_rows, response_marks
from .batch import Batch, Examples
from .bertscore import bertscore
from .chat import Chat, ChatPrompt, ChatTemplateError, messages_of
from .generation import decode, decoder_start, generate
from .heads import HEADS, Head, classification_metrics, head_of, register_head, regression_metrics
from .multilabel import best_cut, logit_of, multilabel_metrics, probability_of
from .next_token import token_positions
from .prompts import (
    GenerationExamples,
    NoRoomError,
    encode_documents,
    encode_prompts,
    encode_responses,
)
from .rouge import mean_rouge, rouge
from .sampling import draw_responses
from .text import LabelExamples, encode_texts
from .truncation import Encoded, Lengths
from .unlabelled import has_label, without_label

__all__ = [
    "HEADS",
    "head_of",
    "register_head",
    "Batch",
    "Chat",
    "ChatPrompt",
    "ChatTemplateError",
    "Encoded",
    "Examples",
    "GenerationExamples",
    "Head",
    "LabelExamples",
    "Lengths",
    "NoRoomError",
    "Mark",
    "bertscore",
    "best_cut",
    "classification_metrics",
    "decode",
    "decoder_start",
    "document_marks",
    "draw_responses",
    "encode_documents",
    "encode_prompts",
    "encode_responses",
    "encode_texts",
    "generate",
    "has_label",
    "logit_of",
    "mean_rouge",
    "messages_of",
    "multilabel_metrics",
    "paired_rows",
    "probability_of",
    "regression_metrics",
    "response_marks",
    "rouge",
    "token_positions",
    "without_label",
]
