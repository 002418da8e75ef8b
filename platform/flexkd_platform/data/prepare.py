"""Read one source, convert it to examples, and collect all problems."""

from __future__ import annotations

from ..spec import InstructionTask, Problem, SummarizationTask, Task
from .labelled import make_labelled
from .labels import Labels
from .prepared import Prepare, PreparedData
from .prompts import make_instructions, make_summaries
from .reading import Purpose, Reading
from .sources import READERS


def _preparation_of(task: Task) -> Prepare:
    if isinstance(task, InstructionTask):
        return make_instructions
    return make_summaries if isinstance(task, SummarizationTask) else make_labelled


def prepare(
    task: Task,
    path: str,
    purpose: Purpose = "training",
    known: Labels | None = None,
    reading: Reading | None = None,
) -> tuple[Reading, PreparedData, list[Problem]]:
    """Read the task's source and convert it to examples.

    Args:
        task: the task; its `data` is read.
        path: of that section in the spec.
        purpose: whether all splits are read, or the one to evaluate on.
        known: the training data's labels, if they define the meaning of labels.
        reading: the content of the source if it has been read.

    Returns:
        The content of the source; the examples, without tables if they cannot be split; all
        problems.
    """
    if reading is None:
        reading = READERS[task.data.source](task, path, purpose)
    made = _preparation_of(task)(reading.splits, task, path, known)
    problems = [*reading.problems, *made.problems]
    if made.tables:
        problems += _emptiness(reading)
        if reading.problems:
            made.tables = {}
    return reading, made, problems


def _emptiness(reading: Reading) -> list[Problem]:
    remedy = "fill it; a validation or test split that is not there at all is drawn from train"
    return [
        Problem(reading.place, f"{examples.origin} has no examples", remedy)
        for examples in reading.splits.values()
        if len(examples.table) == 0
    ]
