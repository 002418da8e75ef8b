"""One vocabulary for two models whose embedding matrices are padded to different sizes.

Shapes: N valid rows (tokens), V vocabulary entries, of each side's own number.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._inputs import require_same_rows


def same_vocabulary(
    student_NV: Tensor, teacher_NV: Tensor, *, largest_padding: int = 1024
) -> tuple[Tensor, Tensor]:
    """Cut the logits of both sides to the smaller vocabulary.

    Models that share a tokenizer may differ by padding at the end of the vocabulary, such as
    151,936 and 152,064 entries; no text contains these tokens. The smaller side is never padded: an
    added logit of 0 would get probability.

    Args:
        student_NV, teacher_NV: logits over vocabularies of the same tokenizer.
        largest_padding: the largest difference of sizes that is treated as padding.

    Returns:
        Views of the first min(V) columns of both, student first.

    Raises:
        ValueError: the numbers of rows differ, or the sizes by more than the largest padding.
    """
    require_same_rows(student_NV, teacher_NV)
    student, teacher = student_NV.shape[1], teacher_NV.shape[1]
    if abs(student - teacher) > largest_padding:
        raise ValueError(
            f"vocabularies of {student} (student) and {teacher} (teacher) entries differ by more "
            f"than padding ({largest_padding}): choose models that share a tokenizer"
        )
    shared = min(student, teacher)
    return student_NV[:, :shared], teacher_NV[:, :shared]
