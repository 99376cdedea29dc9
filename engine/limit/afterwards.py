"""What limits are once a training has ended: which one ended it, what was left of the others, and how it goes on."""

from __future__ import annotations

import time
from pathlib import Path

from engine.journals.journal import read
from engine.journals.limit_events import LimitReached
from engine.limit import limits
from engine.limit.allowance import rough
from engine.limit.limits import Due
from engine.live.state import ENDED, ExperimentState
from engine.paths import ExperimentPaths
from engine.runs.spending import reckoned

# Limits that are used up; the others are moments that come.
SPENT = ("time", "budget")


def became(due: Due, reached: LimitReached | None) -> str:
    """`ended it`, `was used up`, `had 28 min left`: a limit as it stood when the training ended."""
    if reached is not None and reached.kind == due.kind:
        return "ended it"
    if due.seconds <= 0:
        return "was used up"
    return f"had {rough(due.seconds)} left" if due.kind in SPENT else f"was {rough(due.seconds)} away"


def refused(state: ExperimentState) -> str:
    """Why a plain `steptop resume` would be refused at this moment: the limit that is used up; '' where it goes on."""
    held = state.plan.limits
    if state.phase not in ENDED or state.phase == "finished":
        return ""
    record = reckoned(read(ExperimentPaths(Path(state.folder)).events), held, 0.0)
    return limits.same_again(state.reached, held, held) or limits.used_up(record, time.time(), 0.0)


def resume_options(state: ExperimentState, why: str) -> str:
    """What `steptop resume` needs to go on although `why`; '' where it needs nothing. As much time again where it was
    time that ran out, unless nothing could be begun in that; of a deadline or a budget it is not for steptop to say how
    much more."""
    if not why:
        return ""
    seconds, too_short = state.plan.limits.seconds, state.reached is not None and not state.reached.begun
    if seconds is not None and "time limit" in why and not too_short:
        return f" --until {limits.span(seconds).replace(' ', '')}"
    return " --no-limit"
