"""A pace in words: warm-up over, slower or faster since when, longer and longer steps."""

from __future__ import annotations

import time

from engine.journals.events import Level
from engine.live.drift import Creep
from engine.live.segments import Pace, Segment


def changes(before: Pace, after: Pace) -> list[tuple[float, str, Level]]:
    """What `after` knows that `before` did not, as (wall clock, sentence, level): warm-up over, pace changed."""
    said: list[tuple[float, str, Level]] = []
    if after.warm_over and (before.warming or before.attempt != after.attempt):
        steps = "1 step" if after.warm_steps == 1 else f"{after.warm_steps:,} steps"
        text = f"warm-up over after {steps}" if after.warm_steps else "no warm-up: steady from the first step"
        said.append((after.warm_over, text, "info"))
    for segment in changed(before, after):
        level: Level = "warn" if segment.ratio > 1 else "info"
        said.append((segment.noticed, f"step time {change_words(segment, seconds=True)}", level))
    if after.creep is not None and (before.creep is None or before.attempt != after.attempt):
        since = clock(after.creep.since, True)
        at = next((i for i, one in enumerate(said) if one[0] > after.creep.noticed), len(said))
        said.insert(at, (after.creep.noticed, f"steps take longer and longer since {since}", "warn"))
    return said


def changed(before: Pace, after: Pace) -> list[Segment]:
    """Changes of pace that `after` knows and `before` did not. By steps: the wall clock may have been set back."""
    same = before.attempt == after.attempt
    known = max((segment.first for segment in before.segments if segment.attempt == after.attempt), default=0)
    own = [segment for segment in after.segments if segment.ratio and segment.attempt == after.attempt]
    return [segment for segment in own if not same or segment.first > known]


def change_words(segment: Segment, seconds: bool = False) -> str:
    """`13 % slower since 14:02`."""
    percent = abs(segment.ratio - 1) * 100
    word = "slower" if segment.ratio > 1 else "faster"
    return f"{percent:.0f} % {word} since {clock(segment.since, seconds)}"


def creep_words(creep: Creep, seconds: bool = True) -> str:
    """`since 14:02:11: 8 % so far, 3 % more every 1,000 steps`."""
    more = 100 * 1000 * creep.per_step / creep.start if creep.start > 0 else 0.0
    since = clock(creep.since, seconds)
    return f"since {since}: {100 * creep.grown:.0f} % so far, {more:.2g} % more every 1,000 steps"


def clock(t: float, seconds: bool) -> str:
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(t))
