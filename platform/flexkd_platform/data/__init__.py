"""Read examples from their source, check them, and split them into train, validation and test.

`check_data` reports all problems of a task's data before a job starts. `load_splits` returns the
examples, `load_evaluation` those of an evaluation set. The other modules, in reading order:
`sources` (the reader of each source), `builtin`, `files` with `formats`, `hub`; `prepare` (the
examples of each task), `labelled` with `labels`, `prompts` with `templates`; `splitting` with
`splits`, `sizes`, `leakage`; `mixture`, `evaluation`, `checks`.
"""

from .checks import DataFacts, check_data, load_evaluation, load_splits
from .evaluation import SetFacts
from .leakage import shared
from .mixture import ORIGIN
from .splits import SPLITS, Splits, texts_of
from .templates import RESPONSE_MARKERS

__all__ = [
    "ORIGIN",
    "RESPONSE_MARKERS",
    "SPLITS",
    "DataFacts",
    "SetFacts",
    "Splits",
    "check_data",
    "load_evaluation",
    "load_splits",
    "shared",
    "texts_of",
]
