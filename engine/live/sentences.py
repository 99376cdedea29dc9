"""The list of events of a run or an experiment, one sentence longer."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from engine.journals.events import Level
from engine.live.state import SENTENCES, ExperimentState, RunState, Sentence

State = TypeVar("State", RunState, ExperimentState)


def say(state: RunState | ExperimentState, t: float, text: str, level: Level = "info") -> tuple[Sentence, ...]:
    """Its sentences and a new one, the newest SENTENCES of them; an empty text says nothing."""
    return (*state.sentences, Sentence(t, text, level))[-SENTENCES:] if text else state.sentences


def stamped(before: State, after: State, m: float, boot: str) -> State:
    """`after` with its new sentence, if it has one, placed by the monotonic clock `m` since `boot`."""
    if after.sentences is before.sentences:
        return after
    last = msgspec.structs.replace(after.sentences[-1], m=m, boot=boot)
    return msgspec.structs.replace(after, sentences=(*after.sentences[:-1], last))
