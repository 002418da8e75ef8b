"""Batches whose rows hold several examples, which do not see each other.

Shapes: P rows of a batch, W tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .batch import Batch


def packed_batch(
    sequences: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], width: int, pad_id: int
) -> Batch:
    """Examples one after the other, a new row where the next one has no room.

    The order is kept, so that targets in row-major order are those of the examples. Positions start
    from 0 in every example and there is no attention mask: from such positions transformers makes
    one that is causal and block-diagonal, in which a token attends to its own example alone. The
    padding at the end of a row is an example of its own, without targets.

    Args:
        targets: of each sequence the positions whose outputs are compared, ascending.
        width: tokens of a row; that of the longest sequence if it is longer.
    """
    width = max([width, *map(len, sequences)])
    rows: list[list[int]] = [[]]
    starts = []
    for sequence in sequences:
        if len(rows[-1]) + len(sequence) > width:
            rows.append([])
        starts.append((len(rows) - 1, len(rows[-1])))
        rows[-1].extend(sequence)
    longest = max(map(len, rows))
    shape = (len(rows), longest)
    input_ids_PW = torch.full(shape, pad_id, dtype=torch.long)
    targets_PW = torch.zeros(shape, dtype=torch.bool)
    position_ids_PW = torch.empty(shape, dtype=torch.long)
    for row, tokens in enumerate(rows):
        input_ids_PW[row, : len(tokens)] = torch.tensor(tokens)
        position_ids_PW[row, len(tokens) :] = torch.arange(longest - len(tokens))
    for (row, start), sequence, places in zip(starts, sequences, targets, strict=True):
        position_ids_PW[row, start : start + len(sequence)] = torch.arange(len(sequence))
        targets_PW[row, [start + place for place in places]] = True
    return Batch(
        inputs={"input_ids": input_ids_PW, "position_ids": position_ids_PW},
        targets_BT=targets_PW,
        labels_N=input_ids_PW.roll(-1, dims=1)[targets_PW],
        feature_masks={"": targets_PW},
    )
