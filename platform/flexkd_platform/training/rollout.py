"""On-policy steps: responses drawn from the student, or from a mixture with its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ..spec import OnPolicy
from ..tasks import Batch, GenerationExamples, draw_responses


class Rollout:
    """Draws responses to a step's prompts, with one random seed for each step and example.

    A fraction `share` of the steps is on-policy, evenly spaced from the first one; the others use
    the data's own responses.
    """

    def __init__(
        self,
        settings: OnPolicy,
        student: Any,
        teacher: Any,
        examples: GenerationExamples,
        *,
        eos_id: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._settings, self._student, self._teacher = settings, student, teacher
        self._examples, self._eos_id, self._seed = examples, eos_id, seed
        self._device = device

    def __call__(self, step: int, rows: Sequence[int]) -> Batch | None:
        """The batch of drawn responses; None for a step on the data's own."""
        share = self._settings.share
        # A step k is on-policy if ⌈(k + 1)·share⌉ > ⌈k·share⌉: step 0 is, for any share.
        if -(-(step + 1) * share // 1) == -(-step * share // 1):
            return None
        prompts = [self._examples.prompts[row] for row in rows]
        drawn = draw_responses(
            self._student,
            self._teacher if self._settings.teacher_mix > 0 else None,
            prompts,
            teacher_mix=self._settings.teacher_mix,
            temperature=self._settings.temperature,
            max_new_tokens=self._settings.max_new_tokens,
            # By example, so that a draw does not depend on the worker.
            seeds=[(self._seed * 1_000_003 + step) * 1_000_003 + row for row in rows],
            pad_id=self._examples.pad_id,
            eos_id=self._eos_id,
            encoder_decoder=self._examples.encoder_decoder,
            decoder_start_id=self._examples.decoder_start_id,
            device=self._device,
        )
        examples = replace(
            self._examples,
            prompts=tuple(prompts),
            responses=tuple(map(tuple, drawn)),
            earlier=(),  # the answers of the data are no targets
        )
        return examples.batch(range(len(rows)))
