"""Steps that have become slower in a run, each once: what a user wants to be told of."""

from __future__ import annotations

from typing import TypeAlias

from engine.live.changes import NOT_SEEN, changes_of
from engine.live.pace_words import creep_words
from engine.live.state import RunState

# What happened, in which attempt, from which step on.
Key: TypeAlias = tuple[str, int, int]


def slowdowns(run: RunState) -> dict[Key, str]:
    """Of the present attempt: what is said of each. Steps that became quicker are none."""
    found: dict[Key, str] = {}
    for change in changes_of(run):
        if change.ratio > 1:
            why = f"; {change.cause}" if change.cause != NOT_SEEN else ""
            found["change", run.attempt, change.first] = f"step time {change.words}{why}"
    creep = run.pace.creep
    if creep is not None and creep.active:
        found["creep", run.attempt, creep.first] = f"steps take longer and longer {creep_words(creep, False)}"
    return found
