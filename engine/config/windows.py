"""Where the windows of a whole volume lie, when a network sees one patch of it at a time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

OVERLAP = 0.5


def starts(side: int, window: int, overlap: float = OVERLAP) -> list[int]:
    """Where windows begin along a side, evenly spread, the first at its beginning and the last at its end."""
    if side <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(side - window) // step) + 1
    return [round(i * (side - window) / (count - 1)) for i in range(count)]


def count(shape: Sequence[int], window: Sequence[int], overlap: float = OVERLAP) -> int:
    """How many windows a volume takes."""
    return prod(len(starts(side, part, overlap)) for side, part in zip(shape, window, strict=True))
