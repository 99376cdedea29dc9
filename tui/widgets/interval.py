"""An interval on a scale that several lines share: ├──●──┤, with the line that it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tui.widgets.line import Line

# A ratio that nothing is known of reaches from 0 to infinity: the scale ends here, an interval beyond it at its edge.
FARTHEST = 8.0
NEAREST = 1.25


class Scale(NamedTuple):
    """From `low` to `high`, by ratio: twice as much is as far as half."""

    low: float
    high: float

    def at(self, value: float, width: int) -> int:
        """The cell of `value`; those beyond lie in the first or the last."""
        if value <= self.low:
            return 0
        if value >= self.high:
            return width - 1
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return min(width - 1, max(0, round(part * (width - 1))))


def scale_of(values: Sequence[float], middle: float = 1.0) -> Scale:
    """Holds all of `values` and `middle`, as far as they are near it."""
    near = [middle / NEAREST, middle * NEAREST]
    kept = [min(max(value, middle / FARTHEST), middle * FARTHEST) for value in values if value >= 0]
    return Scale(min([*near, *kept]) / 1.02, max([*near, *kept]) * 1.02)


def interval(
    scale: Scale, width: int, low: float, value: float, high: float, role: str, middle: float | None = 1.0
) -> Line:
    """One line of `width` cells. `middle`: where the line that it is compared with is drawn."""
    if width <= 0:
        return []
    cells: list[tuple[str, str]] = [(" ", "text")] * width
    if middle is not None:
        cells[scale.at(middle, width)] = ("│", "faint")
    first, last = scale.at(low, width), scale.at(high, width)
    for at in range(first, last + 1):
        cells[at] = ("─", role)
    if low > scale.low:
        cells[first] = ("├", role)
    if high < scale.high:
        cells[last] = ("┤", role)
    if middle is not None and first < scale.at(middle, width) < last:
        cells[scale.at(middle, width)] = ("┼", role)
    cells[scale.at(value, width)] = ("●", role)
    return _spans(cells)


def empty(scale: Scale, width: int, middle: float = 1.0) -> Line:
    """The line that the others are compared with, alone."""
    at = scale.at(middle, width)
    return [(" " * at, "text"), ("│", "faint"), (" " * (width - at - 1), "text")]


def labels(scale: Scale, width: int, middle: float = 1.0) -> Line:
    """`×0.5   ×1   ×4` above the cells they stand for, as far as they fit beside one another."""
    cells = [" "] * width
    at = scale.at(middle, width)
    for text, place in (
        ("×1", min(max(0, at - 1), width - 2)),
        (f"×{scale.low * 1.02:.2g}", 0),
        (f"×{scale.high / 1.02:.2g}", width),
    ):
        begin = place if place < width else width - len(text)
        around = cells[max(0, begin - 1) : begin + len(text) + 1]
        if begin >= 0 and not "".join(around).strip():
            cells[begin : begin + len(text)] = text
    return [("".join(cells), "faint")]


def _spans(cells: Sequence[tuple[str, str]]) -> Line:
    """Neighbours of one role together."""
    line: Line = []
    for text, role in cells:
        if line and line[-1][1] == role:
            line[-1] = (line[-1][0] + text, role)
        else:
            line.append((text, role))
    return line
