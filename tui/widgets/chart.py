"""Curves in braille: eight dots to a cell, one mean per dot column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from tui.glyphs import BRAILLE

Point = tuple[float, float]
# A column of dots in a cell from the top down, left then right.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
OUTLIER = 3.0
# A pace that varies by less than this share is drawn as calm as it is.
CALM = 0.2


def bounds(values: Sequence[float], log: bool = False, robust: bool = False) -> tuple[float, float]:
    """The range to draw. `robust`: one stall may not flatten the rest, so nothing beyond three medians counts."""
    kept = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not kept:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(kept), max(kept)
    if robust:
        high = max(low, min(high, OUTLIER * sorted(kept)[len(kept) // 2]))
    if log:
        return (low / 1.1, high * 1.1) if low == high else (low, high)
    if robust and high - low < CALM * high:
        middle = (low + high) / 2
        low, high = middle * (1 - CALM / 2), middle * (1 + CALM / 2)
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return (max(0.0, low - pad) if low >= 0 else low - pad), high + pad


def columns(points: Sequence[Point], count: int, log: bool = False) -> list[float | None]:
    """`count` values over the whole range of x: the mean of the points in each column, neighbours joined between."""
    points = [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)]
    if not points or count <= 0:
        return [None] * max(count, 0)
    first, last = points[0][0], points[-1][0]
    span = (last - first) or 1.0
    sums, sizes = [0.0] * count, [0] * count
    for x, y in points:
        at = min(count - 1, int((x - first) / span * count)) if len(points) > 1 else 0
        sums[at] += y
        sizes[at] += 1
    values = [s / n if n else None for s, n in zip(sums, sizes, strict=True)]
    known = [i for i, v in enumerate(values) if v is not None]
    for left, right in pairwise(known):
        a, b = values[left], values[right]
        assert a is not None and b is not None
        for i in range(left + 1, right):
            values[i] = a + (b - a) * (i - left) / (right - left)
    return values


def curve(values: Sequence[float | None], height: int, low: float, high: float, log: bool = False) -> list[str]:
    """`height` rows of braille, two values to a cell, top row first. Values beyond the range run along its edge."""
    rows, levels = [[0] * (-(-len(values) // 2)) for _ in range(height)], height * 4
    bottom, top = (math.log(low), math.log(high)) if log else (low, high)
    # A range of denormal numbers has no finite scale.
    scale = (levels - 1) / max(top - bottom, 1e-300) if top > bottom else 1.0
    before: int | None = None
    for at, value in enumerate(values):
        if value is None:
            before = None
            continue
        y = ((math.log(value) if log else value) - bottom) * scale
        level = levels - 1 - min(max(round(y), 0), levels - 1)
        start = level if before is None else before + (level > before) - (level < before)
        for dot in range(min(start, level), max(start, level) + 1):
            rows[dot // 4][at // 2] |= _DOTS[at % 2][dot % 4]
        before = level
    return ["".join(chr(BRAILLE + cell) for cell in row) for row in rows]
