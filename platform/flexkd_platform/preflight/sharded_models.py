"""Compatibility checks for sharded models, where every worker only has a shard of the weights."""

from __future__ import annotations

from collections.abc import Iterator

from ..spec import JobSpec, OnPolicy, Problem


def sharing_problems(spec: JobSpec) -> Iterator[Problem]:
    """The problems of methods that call a whole model on one worker, if the model is sharded.

    All workers gather a sharded layer together. Responses that workers sample have different
    lengths, so the workers would run different numbers of forward passes.
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
                "sampling responses requires an unsharded student, but resources.parallel is fsdp",
                "use resources.parallel: ddp, or leave on_policy out",
            )
        if _mixes(drawn) and sharded:
            yield Problem(
                f"{path}.on_policy.teacher_mix",
                "sampling responses requires an unsharded teacher, but "
                "resources.teacher_placement is sharded",
                "use teacher_placement: whole or device_map, or set teacher_mix to 0",
            )
        if sharded and method.selection is not None and spec.score.aggregation == "batch":
            yield Problem(
                "score.aggregation",
                "batch scoring between steps requires an unsharded teacher, but "
                "resources.teacher_placement is sharded",
                "use teacher_placement: whole or device_map, or aggregation: global",
            )


def _mixes(drawn: OnPolicy | None) -> bool:
    return drawn is not None and drawn.teacher_mix > 0
