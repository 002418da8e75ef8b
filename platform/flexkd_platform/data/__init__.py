"""The examples: read from their source, checked, and cut into train, validation and test.

`check_data` finds everything that is wrong with a task's data before a job starts; `load_splits`
gives the examples themselves. The rest of this folder, in reading order: `sources` (which source
is read by what), `builtin`, `files` with `formats`, `hub`, `labels`, `splits`, `checks`.
"""

from .checks import DataFacts, check_data, load_splits
from .splits import SPLITS, Splits

__all__ = [
    "SPLITS",
    "DataFacts",
    "Splits",
    "check_data",
    "load_splits",
]
