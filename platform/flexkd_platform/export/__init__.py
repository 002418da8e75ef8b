"""Take a student out of the storage: choose it, and write it as a folder that transformers loads.

`find_student` chooses a trial of a job, `write_student` writes its model, tokenizer and model card,
`push_folder` uploads such a folder to the Hugging Face hub.
"""

from .card import model_card
from .choosing import Student, find_student
from .target import Target, parse_target

__all__ = [
    "Student",
    "Target",
    "find_student",
    "model_card",
    "parse_target",
]
