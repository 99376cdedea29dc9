"""Changes of a run's pace as they are said beside its forecast: by how much, since when, and why."""

from __future__ import annotations

import msgspec

from engine.live.pace_words import change_words
from engine.live.state import RunState

NOT_SEEN = "cause not seen"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`ratio`: seconds per step over those before it. `since` and `noticed`: wall clock. `cause`: in words."""

    first: int
    since: float
    noticed: float
    ratio: float
    cause: str
    words: str


def changes_of(run: RunState) -> tuple[Change, ...]:
    """Those of the present attempt, oldest first."""
    return tuple(
        Change(
            first=segment.first,
            since=segment.since,
            noticed=segment.noticed,
            ratio=segment.ratio,
            cause=run.causes.get(segment.first, NOT_SEEN),
            words=change_words(segment),
        )
        for segment in run.pace.segments
        if segment.ratio and segment.attempt == run.pace.attempt
    )
