"""Of a training that has begun, both answers to the same question: all of it from its first step, and what is left."""

from __future__ import annotations

import msgspec

from engine.diagnosis.consequences import Range
from engine.whatif.known import Known
from engine.whatif.what_if import Question, times


class Both(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of all runs, on the machine that was measured. `rest`: the question was asked of what is left."""

    whole: Range
    left: Range
    rest: bool = False


def both(known: Known, question: Question) -> Both | None:
    """None for what has not begun, of which all is left."""
    if not known.done and not known.finished:
        return None

    def asked(rest: bool) -> Range:
        return times(known, msgspec.structs.replace(question, rest=rest)).experiment

    return Both(whole=asked(False), left=asked(True), rest=question.rest)
