"""Steps that are long every so often (a costly term of the loss every fiftieth, a log flushed every sixteenth).

What comes in a fixed rhythm is no chance: averaged over whole periods it leaves no noise, while blocks of any other
length hold one such step more or less and look as if the pace wandered.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import median

import msgspec

from engine.live.segments import Bucket

# A long step takes at least so many times as much longer than the usual one as that takes.
LONG = 1.0
# So many of the longest are looked at, and so many of the rhythms their distances suggest.
MOST, SUGGESTED = 64, 6
# Stalls are long steps too, at no fixed distance: beyond what chance brings about, so many of all long ones must have
# the next one a period away.
FOLLOWED = 0.5
FEWEST_PERIODS = 4
# The rhythm goes through so much of them, and they through so much of the steps.
WHOLE = 0.9
# Buckets of steps are so many times shorter than a period, or they could not tell it.
FINE = 2
# What comes beside whole periods may hold so many long steps before it counts.
STALLED = 1.5


class Periodic(msgspec.Struct, frozen=True):
    """`period` in steps; `mean` seconds of a step over whole periods; `variance`: of a period's seconds, per step;
    `usual`: seconds of a step that is not a long one."""

    period: int
    mean: float
    variance: float
    usual: float


def periodic(buckets: Sequence[Bucket], after: int) -> Periodic | None:
    """The rhythm of the steps after step `after`, or None where they have none that can be told."""
    own = [bucket for bucket in buckets if bucket.last - bucket.steps >= after]
    if len(own) < FINE * FEWEST_PERIODS:
        return None
    usual = median(bucket.seconds / bucket.steps for bucket in own)
    width = max(bucket.steps for bucket in own)
    extra = [(bucket.seconds - usual * bucket.steps, at) for at, bucket in enumerate(own)]
    long = sorted(at for more, at in sorted(extra, reverse=True)[:MOST] if more > LONG * usual)
    places = [own[at].last for at in long]
    if len(long) <= FEWEST_PERIODS:
        return None
    gaps = Counter(places[j] - places[i] for i in range(len(places)) for j in range(i + 1, min(i + 4, len(places))))
    for period in sorted(gap for gap, _ in gaps.most_common(SUGGESTED) if gap >= FINE * width):
        if found := _with(period, own, long, places, width, usual):
            return found
    return None


def _with(
    period: int, own: Sequence[Bucket], long: list[int], places: list[int], width: int, usual: float
) -> Periodic | None:
    """Whether that is the rhythm of most long steps; then what whole periods take."""
    within = width if width > 1 else 0

    def is_long(place: int) -> bool:
        at = bisect_left(places, place - within)
        return at < len(places) and places[at] <= place + within

    followed = [place for place in places if is_long(place + period)]
    could = sum(place + period <= places[-1] for place in places)
    chance = min(1.0, len(places) * (2 * within + 1) / max(1, places[-1] - places[0]))
    if not could or len(followed) / could < chance + FOLLOWED * (1 - chance):
        return None
    rhythm = [(at, place) for at, place in zip(long, places, strict=True)
              if is_long(place + period) or is_long(place - period)]
    gone = list(accumulate((bucket.seconds for bucket in own), initial=0.0))
    each = [(gone[b + 1] - gone[a + 1], there - here) for (a, here), (b, there) in pairwise(rhythm)]
    regular = sum(count for _, count in each if abs(count - round(count / period) * period) <= within)
    if len(each) < FEWEST_PERIODS or regular < WHOLE * (places[-1] - places[0]):
        return None
    steps = sum(count for _, count in each)
    if steps + 2 * period < WHOLE * (own[-1].last - own[0].last + own[0].steps):
        return None
    mean = sum(took for took, _ in each) / steps
    # Before the first and after the last long step: a stall there is as good a stall as any.
    around = own[-1].last - own[0].last + own[0].steps - steps
    beyond = gone[-1] - sum(took for took, _ in each) - mean * around
    if beyond > STALLED * median(own[at].seconds - mean * own[at].steps for at, _ in rhythm):
        each.append((mean * around + beyond, around))
        steps += around
        mean = sum(took for took, _ in each) / steps
    squares = sum((took - mean * count) ** 2 for took, count in each)
    return Periodic(period, mean, squares / steps * len(each) / (len(each) - 1), min(usual, mean))
