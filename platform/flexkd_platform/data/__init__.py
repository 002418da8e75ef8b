"""The examples: read from their source, checked, and cut into train, validation and test.

`check_data` finds everything that is wrong with a task's data before a job starts; `load_splits`
gives the examples themselves, `load_evaluation` those of a further set to measure on. The rest of
this folder, in reading order: `sources` (which source is read by what), `builtin`, `files` with
`formats`, `hub`; `examination` (what each task makes of what was read), `labelled` with `labels`,
`prompts` with `templates`; `splits`, `sizes`, `evaluation`, `checks`.
"""

from .checks import DataFacts, check_data, load_evaluation, load_splits
from .evaluation import SetFacts
from .splits import SPLITS, Splits, texts_of
from .templates import RESPONSE_MARKERS

__all__ = [
    "RESPONSE_MARKERS",
    "SPLITS",
    "DataFacts",
    "SetFacts",
    "Splits",
    "check_data",
    "load_evaluation",
    "load_splits",
    "texts_of",
]
