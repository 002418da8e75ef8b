"""A learned linear map from student features to the teacher's width.

Shapes: S student units, T teacher units; any leading dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Projector(nn.Module):
    """Bias-free linear map student → teacher: t = W s, trained and saved with the student.

    Compare its output with the teacher by `mse_loss` or `correlation_loss`. It is not part of the
    exported student.

    Args:
        student_units: S, the student's hidden size.
        teacher_units: T, the teacher's hidden size.
        generator: the only source of the initial weights, U(−1/√S, 1/√S) as in `nn.Linear`, so that
            creating a projector does not change the global random state.

    Raises:
        ValueError: a size is below 1.

    Source: TinyBERT, Jiao et al. 2020, arXiv:1909.10351, Eq. 8.
    """

    weight: nn.Parameter

    def __init__(self, student_units: int, teacher_units: int, generator: torch.Generator) -> None:
        super().__init__()
        if student_units < 1 or teacher_units < 1:
            raise ValueError(
                f"a projector from {student_units} to {teacher_units} units cannot be made: "
                "both sizes must be at least 1"
            )
        bound = student_units**-0.5
        weight_TS = torch.empty(teacher_units, student_units, device=generator.device)
        self.weight = nn.Parameter(weight_TS.uniform_(-bound, bound, generator=generator))

    def forward(self, student_S: Tensor) -> Tensor:
        """Map features (…, S) to (…, T)."""
        return nn.functional.linear(student_S, self.weight)
