"""Take a student out of the storage: choose it, and write it as a folder that transformers loads.

`find_student` chooses a trial of a job. `folder.write_student` writes its model, tokenizer and
model card; it imports torch.
"""

from .choosing import Student, find_student, trials_of
from .target import Target, parse_target

__all__ = [
    "Student",
    "Target",
    "find_student",
    "parse_target",
    "trials_of",
]
