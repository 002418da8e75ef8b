"""What does not go with a model of which every worker holds only a share."""

from __future__ import annotations

from collections.abc import Iterator

from ..spec import JobSpec, OnPolicy, Problem


def sharing_problems(spec: JobSpec) -> Iterator[Problem]:
    """Methods that call a whole model by themselves, with one that is shared out.

    A layer that is shared out is put together by all workers at once. Responses that workers draw
    are of different lengths, and so would be the numbers of their forwards.
    """
    resources = spec.resources
    if resources.most_workers == 1:
        return
    sharded = resources.teacher_placement == "sharded"
    for place, method in enumerate(spec.sweep.methods):
        path = f"sweep.methods[{place}]"
        drawn = method.draws
        if drawn is not None and resources.parallel == "fsdp":
            yield Problem(
                f"{path}.on_policy",
                "responses are drawn from a whole student, and resources.parallel is fsdp",
                "use resources.parallel: ddp, or leave on_policy out",
            )
        if _mixes(drawn) and sharded:
            yield Problem(
                f"{path}.on_policy.teacher_mix",
                "responses are drawn from a whole teacher, and "
                "resources.teacher_placement is sharded",
                "use teacher_placement: whole or device_map, or set teacher_mix to 0",
            )
        if sharded and method.selection is not None and spec.score.aggregation == "batch":
            yield Problem(
                "score.aggregation",
                "batch scores a whole teacher between steps, and "
                "resources.teacher_placement is sharded",
                "use teacher_placement: whole or device_map, or aggregation: global",
            )


def _mixes(drawn: OnPolicy | None) -> bool:
    return drawn is not None and drawn.teacher_mix > 0
