"""Read examples from their source, check them, and split them into train, validation and test.

`check_data` reports all problems of a task's data before a job starts. `load_splits` returns the
examples, `load_evaluation` those of an evaluation set. The other modules, in reading order:
`sources` (the reader of each source), `builtin`, `files` with `formats`, `hub`; `prepare` (the
examples of each task), `labelled` with `labels`, `prompts` with `templates`; `splitting` with
`splits`, `sizes`, `leakage`; `mixture`, `evaluation` with `scripts`, `checks`, `profile`.
"""

from .checks import DataFacts, check_data, load_evaluation, load_splits
from .evaluation import SetFacts
from .leakage import nearly_shared, shared
from .mixture import ORIGIN
from .prepared import Conversations
from .profile import (
    absent_classes,
    class_json,
    class_lines,
    constant_classes,
    untaught_classes,
)
from .scripts import WordRule, shown_rules, word_rules
from .splits import SPLITS, Splits, texts_of, training_texts
from .templates import TEMPLATES, PromptParts, split_prompt

__all__ = [
    "ORIGIN",
    "SPLITS",
    "PromptParts",
    "Conversations",
    "DataFacts",
    "SetFacts",
    "TEMPLATES",
    "Splits",
    "WordRule",
    "absent_classes",
    "check_data",
    "class_json",
    "class_lines",
    "constant_classes",
    "load_evaluation",
    "load_splits",
    "nearly_shared",
    "shared",
    "shown_rules",
    "split_prompt",
    "texts_of",
    "training_texts",
    "word_rules",
    "untaught_classes",
]
