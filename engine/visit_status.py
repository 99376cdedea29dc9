"""A test of profiles in the status contract: which phase it is in, what is measured so far, when it ends."""

from __future__ import annotations

import msgspec

from engine.config.prepared import Prepared
from engine.journals.events import PhaseEnded, Verdict
from engine.live.state import ExperimentState
from engine.phase import phases
from engine.phase.phases import PhaseResult
from engine.phase.standing import standing
from engine.text import clean

STOPPED = "it was stopped before a visit to it counted"


class MeasuredStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A phase: `number` from 1; samples per second with the 95 % interval, null where nothing is measured."""

    number: int
    name: str
    verdict: str
    samples_per_second: float | None
    low: float | None
    high: float | None


class TestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`phase` and `round` from 1, null between visits; `phases`: null where the tuner makes them up. `step` of `steps`
    of this visit. `seconds`: until the visit ends; `left`, `low`, `high`, `at`: until the test does."""

    __test__ = False

    kind: str
    phase: int | None = None
    phases: int | None = None
    name: str = ""
    round: int | None = None
    mode: str = ""
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    left: float | None = None
    low: float | None = None
    high: float | None = None
    at: float | None = None
    visits: int = 0
    measured: tuple[MeasuredStatus, ...] = ()


def results_of(state: ExperimentState, prepared: Prepared | None = None) -> tuple[PhaseResult, ...]:
    """The phases of a test as they stand; after its end none is under way any more."""
    found = phases.results(state.plan, state.prepared or prepared, state.visits)
    if state.ended is None:
        return found
    return tuple(
        msgspec.structs.replace(one, verdict="stopped", text=STOPPED) if one.verdict == "running" else one
        for one in found
    )


def test_status(state: ExperimentState, step_seconds: float | None) -> TestStatus | None:
    """None for a training. `step_seconds`: the pace of late."""
    test = state.plan.test
    if test is None:
        return None
    at = standing(state, step_seconds) if state.ended is None else None
    told = TestStatus(
        kind=test.kind,
        phases=at.phases or None if at is not None else None,
        visits=sum(isinstance(visit, PhaseEnded) and not visit.repeated for visit in state.visits),
        measured=tuple(_measured(one) for one in results_of(state)),
    )
    if at is None:
        return told
    return msgspec.structs.replace(
        told,
        phase=at.phase + 1,
        name=clean(at.name),
        round=at.round + 1,
        mode=at.mode,
        step=at.step,
        steps=at.steps,
        seconds=at.seconds,
        left=at.left,
        low=at.low,
        high=at.high,
        at=state.now + at.left if at.left is not None else None,
    )


test_status.__test__ = False  # type: ignore[attr-defined]


def test_verdict(state: ExperimentState) -> Verdict | None:
    """Why a test ended: its trials are stopped one after the other, which is no end of it and saves nothing. What one
    of them failed of is its phase's, where the test went on to its end: there is nothing to resume."""
    verdict = state.verdict
    if state.plan.test is not None and state.phase == "finished":
        return None
    if state.plan.test is None or verdict is None or verdict.kind not in ("user_stop", "external_stop"):
        return verdict
    if state.ended is None or state.phase != "stopped":
        return None
    advice = "`steptop resume` goes on with the phases that are left"
    return Verdict(kind=verdict.kind, text=state.ended.text, advice=advice)


test_verdict.__test__ = False  # type: ignore[attr-defined]


def _measured(one: PhaseResult) -> MeasuredStatus:
    found = one.measured
    return MeasuredStatus(
        number=one.number + 1,
        name=clean(one.name),
        verdict=one.verdict,
        samples_per_second=found.samples_per_second if found is not None else None,
        low=found.samples_low if found is not None else None,
        high=found.samples_high if found is not None and found.samples_high < float("inf") else None,
    )
