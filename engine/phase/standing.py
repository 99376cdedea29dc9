"""Where a test of profiles stands: which phase is visited, how far that visit is, how long it and the test take."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config.plan import Plan
from engine.journals.events import Mode, PhaseBegun, PhaseEnded, Verdict
from engine.live.state import ExperimentState
from engine.phase.courses import COURSES
from engine.phase.visit import Visit

# A course never takes more visits; what is simulated ends with them at the latest.
MOST_VISITS = 500
# Of the test's remaining time: a simulated course knows nothing of phases that vary, fail or are repeated.
LEAST, MOST = 0.8, 1.6
# Between two visits a loader, sometimes a process, starts.
BETWEEN_SECONDS = 1.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`phase` and `round` count from 0; `phases`: how many the plan has, 0 where the course makes them up. `step` of
    `steps` of this visit are done. `seconds`: until it ends; `left`: until the test does, with its range."""

    phase: int
    phases: int
    round: int
    name: str
    mode: Mode
    step: int
    steps: int
    seconds: float | None = None
    left: float | None = None
    low: float | None = None
    high: float | None = None


def standing(state: ExperimentState, step_seconds: float | None) -> Standing | None:
    """None where no visit is under way; `step_seconds`: the pace of late."""
    begun = state.visits[-1] if state.visits else None
    test = state.plan.test
    if test is None or not isinstance(begun, PhaseBegun):
        return None
    run = state.run
    taken = run.taken if run is not None else None
    done = run.step - taken.step if run is not None and taken is not None and taken.id == begun.trial else 0
    done = min(max(0, done), begun.steps)
    seconds = (begun.steps - done) * step_seconds if step_seconds and done else None
    left = _left(state.plan, state.visits, begun) if test.kind in COURSES else None
    if left is not None:
        left += seconds if seconds is not None else begun.steps * _pace(state.visits, begun.phase)
    return Standing(
        phase=begun.phase,
        phases=_count(state.plan),
        round=begun.round,
        name=begun.name,
        mode=begun.mode,
        step=done,
        steps=begun.steps,
        seconds=seconds,
        left=left,
        low=left * LEAST if left is not None else None,
        high=left * MOST if left is not None else None,
    )


def _count(plan: Plan) -> int:
    """A bench looks at three things; a tuner decides as it goes."""
    assert plan.test is not None
    return {"bench": 3, "tune": 0}.get(plan.test.kind, len(plan.test.phases))


def _left(plan: Plan, visits: Sequence[PhaseBegun | PhaseEnded], begun: PhaseBegun) -> float | None:
    """Seconds of all visits after the one under way, if every phase keeps the pace it had or the others have."""
    assert plan.test is not None
    done = [visit for visit in visits if isinstance(visit, PhaseEnded) and not visit.repeated]
    if not done:
        return None
    course = COURSES[plan.test.kind]
    done.append(
        _made_up(
            Visit(
                phase=begun.phase,
                round=begun.round,
                name=begun.name,
                knobs=begun.knobs,
                steps=begun.steps,
                mode=begun.mode,
            ),
            _pace(visits, begun.phase),
        )
    )
    seconds = 0.0
    for _ in range(MOST_VISITS):
        visit = course(plan.test, done)
        if isinstance(visit, str):
            return seconds
        pace = _pace(visits, visit.phase)
        seconds += visit.steps * pace + BETWEEN_SECONDS
        done.append(_made_up(visit, pace))
    return seconds


def _pace(visits: Sequence[PhaseBegun | PhaseEnded], phase: int) -> float:
    """Seconds a step of this phase took, or of all that were visited."""
    ended = [visit for visit in visits if isinstance(visit, PhaseEnded) and visit.seconds]
    known = [visit for visit in ended if visit.phase == phase] or ended
    steps = sum(len(visit.seconds) for visit in known)
    return sum(sum(visit.seconds) for visit in known) / steps if steps else 0.0


def _made_up(visit: Visit, pace: float) -> PhaseEnded:
    """A visit as it would go: steps that vary a little around the pace, as real ones do."""
    each = max(pace, 1e-6)
    seconds = tuple(each * (1 + 0.02 * ((i * 7919) % 11 - 5) / 5) for i in range(visit.steps))
    return PhaseEnded(
        phase=visit.phase,
        round=visit.round,
        name=visit.name,
        knobs=visit.knobs,
        verdict=Verdict(kind="ok", text=""),
        mode=visit.mode,
        seconds=seconds,
        samples=(1,) * visit.steps,
    )
