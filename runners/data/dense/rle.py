"""Run-length encoding of masks as COCO writes it: lengths of runs down the columns, then as text.

    uncompressed   lengths of the runs of 0, 1, 0, 1, ... in column order, beginning with zeros (the first may be 0)
    compressed     each length, from the fourth on the difference to the one two before, as a little-endian number of 5
                   bits a character: bit 5 says that more follow, bit 4 of the last one is the sign, and 48 is added, so
                   that characters are printable

Written from the format; equal to pycocotools 2.0.11 on random masks (see tests).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["compressed_rle", "run_lengths"]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask (H, W) in column order, the first one of zeros.

    >>> run_lengths(np.array([[0, 1], [1, 1]]))
    [1, 3]
    """
    column_order = np.concatenate([[0], mask.astype(bool).ravel(order="F"), [0]]).astype(np.int8)
    changes = np.flatnonzero(np.diff(column_order))  # where a run of ones begins or has ended
    ends = np.append(changes, mask.size) if not len(changes) or changes[-1] < mask.size else changes
    return np.diff(np.concatenate([[0], ends])).tolist()


def compressed_rle(mask: np.ndarray) -> dict[str, Any]:
    """`{"size": [H, W], "counts": text}`, as in the `segmentation` of a COCO annotation.

    >>> compressed_rle(np.array([[0, 1], [1, 1]]))
    {'size': [2, 2], 'counts': '13'}
    """
    lengths = run_lengths(mask)
    text = []
    for index, length in enumerate(lengths):
        rest = length - lengths[index - 2] if index > 2 else length
        is_last = False
        while not is_last:
            bits = rest & 0b11111
            rest >>= 5
            is_last = rest == (-1 if bits & 0b10000 else 0)
            text.append(chr(48 + bits + (0 if is_last else 0b100000)))
    return {"size": [int(side) for side in mask.shape], "counts": "".join(text)}
