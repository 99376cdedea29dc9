"""Steps that get slower and slower: a list that grows in the loop, a memory that fragments, a disk that fills up.

Not a change of pace, which happens once: a Page–Hinkley test on block means finds that there is growth, and a line that
begins somewhere must explain it better than any single jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import inf

import msgspec

# Block means looked at: at most so many, made of the curve's buckets.
BINS = 48
FEWEST = 16
# The alarm: growth beyond SLACK of the level, summed, reaches so many standard deviations of a block.
ALARM = 8.0
SLACK = 0.005
# A line must leave at most these parts of the squares that the best jump and the best two leave: two may follow noise.
BETTER, BETTER_THAN_TWO = 0.85, 1.1
# Less than this in all is not worth an alarm; and it has to go on growing in the last third.
SMALLEST = 0.05
CLIP = 3.0


class Creep(msgspec.Struct, frozen=True, gc=False):
    """`first` step and `since` (wall clock): where it began. `start` and `level`: seconds per step then and now;
    `per_step`: how much longer every step is than the one before it. `noticed`: when the alarm came (wall clock), 0
    while it has not. Once noticed it stays, `active` or not."""

    first: int
    since: float
    start: float
    level: float
    per_step: float
    noticed: float
    active: bool = True

    @property
    def grown(self) -> float:
        """By what part of the former pace."""
        return self.level / self.start - 1 if self.start > 0 else 0.0


class Line(msgspec.Struct, frozen=True, gc=False):
    """Blocks are level at `start` up to block `onset` and then grow by `slope` each."""

    onset: int
    start: float
    slope: float


def creep(means: Sequence[float]) -> Line | None:
    """The growth of equally long blocks' means (seconds per step, oldest first), or None. About 0.3 ms."""
    count = len(means)
    if count < FEWEST:
        return None
    limit = CLIP * _median(means)
    values = [min(value, limit) for value in means]
    third = count // 3
    middle, last = _median(values[third:-third]), _median(values[-third:])
    if not (last > middle > 0 and last >= (1 + SMALLEST) * min(_median(values[:third]), middle)):
        return None
    noise = _noise(values)
    if not _alarmed(values, noise):
        return None
    fitted, left = _line(values)
    grown = fitted.slope * (count - 1 - fitted.onset)
    if fitted.slope <= 0 or grown < SMALLEST * fitted.start or count - fitted.onset < FEWEST // 2:
        return None
    # It grows still: the last third by as much as it should by that line, or half of it.
    if last - middle < 0.5 * fitted.slope * third * min(1.0, (count - fitted.onset) / (2 * third)):
        return None
    one, two = _jumps(values)
    return fitted if left < BETTER * one and left < BETTER_THAN_TWO * two else None


def _alarmed(values: Sequence[float], noise: float) -> bool:
    """Page–Hinkley: what values lie above their mean so far, less a slack, summed, has risen far above its lowest."""
    mean = total = lowest = 0.0
    for index, value in enumerate(values, start=1):
        mean += (value - mean) / index
        total += value - mean - SLACK * mean
        lowest = min(lowest, total)
    return total - lowest > ALARM * noise


def _noise(values: Sequence[float]) -> float:
    """Standard deviation of a block, from differences of neighbours: growth does not count in it."""
    steps = sorted(abs(b - a) for a, b in pairwise(values))
    return max(1.05 * steps[len(steps) // 2], 0.3 * steps[int(0.9 * len(steps))], 1e-9)


def _line(values: Sequence[float]) -> tuple[Line, float]:
    """The best of all that are level at first and then grow, and the squares it leaves."""
    count, best = len(values), (Line(0, values[0], 0.0), inf)
    for onset in range(0, count - FEWEST // 2, max(1, count // 16)):
        # y = start + slope · max(0, i − onset), by least squares.
        length = count - onset - 1
        sx, sxx = length * (length + 1) / 2, length * (length + 1) * (2 * length + 1) / 6
        sy = sum(values)
        sxy = sum((i - onset) * values[i] for i in range(onset + 1, count))
        across = sxx - sx * sx / count
        slope = (sxy - sx * sy / count) / across
        start = (sy - slope * sx) / count
        left = sum((values[i] - start - slope * max(0, i - onset)) ** 2 for i in range(count))
        if left < best[1]:
            best = Line(onset, start, slope), left
    return best


def _jumps(values: Sequence[float]) -> tuple[float, float]:
    """The squares that the best single change of level leaves, and the best two."""
    count = len(values)
    sums = list(accumulate(values, initial=0.0))
    squares = sum(value * value for value in values)
    one = two = inf
    for i in range(1, count):
        head = sums[i] * sums[i] / i
        one = min(one, squares - head - (sums[count] - sums[i]) ** 2 / (count - i))
        for j in range(i + 1, count):
            middle, tail = (sums[j] - sums[i]) ** 2 / (j - i), (sums[count] - sums[j]) ** 2 / (count - j)
            two = min(two, squares - head - middle - tail)
    return max(0.0, one), max(0.0, two)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
