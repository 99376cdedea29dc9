"""The profiles that a training under way has run with, one after the other, as phases."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.diagnosis.queueing import predict
from engine.diagnosis.workload import fit
from engine.journals.events import Sample, Use
from engine.live.state import ExperimentState, RunState, Tested
from engine.machine.contention import disturbed
from engine.phase.measure import Measurement
from engine.phase.phases import PhaseResult, against_first, extrapolated, of_lines, verdict_of
from engine.phase.ratio import ratio
from engine.phase.space import differing


def of_all_runs(state: ExperimentState) -> tuple[PhaseResult, ...]:
    """Those of every run that was changed, the one changed first as the measure; of several the name says which run's
    each is."""
    changed = [(number, run) for number, run in enumerate(state.runs, 1) if run.tested]
    if len(changed) < 2:
        return tested(state)
    found = [
        msgspec.structs.replace(one, name=f"{one.name} (run {number})")
        for number, run in sorted(changed, key=lambda pair: pair[1].tested[-1].t)
        for one in tested(state, run)
    ]
    return tuple(against_first(found))


def tested(state: ExperimentState, of: RunState | None = None) -> tuple[PhaseResult, ...]:
    """Those of the run `of`, the first one measured just before it was changed. None: the present one; where that has
    kept its profile, the run that was changed last.

    They did not take turns as in a test: what the machine did meanwhile is in the difference. Where others used it, the
    verdict is `unstable`.
    """
    run = of or _changed_last(state)
    if run is None:
        return ()
    found: list[PhaseResult] = []
    base: Measurement | None = None
    probes: list[Measurement] = []
    ends = [*(one.t for one in run.tested[1:]), float("inf")]
    spoilt = ""
    for number, (one, end) in enumerate(zip(run.tested, ends, strict=True)):
        measured = of_lines(one.lines, one.knobs)
        base = measured if number == 0 else base
        compared = ratio(base, measured) if number and base is not None and measured is not None else None
        verdict, text = verdict_of(measured, compared, None, number == len(run.tested) - 1)
        foreign = others(state.samples, one, end)
        if foreign is not None and disturbed(foreign, state.samples[-1].cores):
            spoilt = f"other processes used {foreign:.1f} cores meanwhile; a test of its own (`steptop phases`) repeats"
        if spoilt and measured is not None:
            verdict, text = "unstable", spoilt
        first = run.tested[0].knobs
        low, high, basis = _expected(state, probes, one) if number else (None, None, "")
        probes += [measured] if measured is not None else []
        found.append(
            PhaseResult(
                number=number,
                name=one.name,
                knobs=one.knobs,
                changed=differing(first, one.knobs),
                measured=measured,
                verdict=verdict,
                text=text,
                ratio=compared,
                low=low,
                high=high,
                basis=basis,
                seconds=extrapolated(state.plan, state.prepared, one.knobs, measured) if measured is not None else {},
                rounds=1,
                use=Use(foreign_cores=foreign),
                swap_seconds=one.seconds or None,
            )
        )
    return tuple(found)


def _changed_last(state: ExperimentState) -> RunState | None:
    if state.run is not None and state.run.tested:
        return state.run
    return max((run for run in state.runs if run.tested), key=lambda run: run.tested[-1].t, default=None)


def _expected(
    state: ExperimentState, probes: Sequence[Measurement], one: Tested
) -> tuple[float | None, float | None, str]:
    """Samples per second (90 % range) that what was measured before let expect of it, and the basis."""
    if not state.samples:
        return None, None, ""
    try:
        low, high = predict(fit(probes, state.samples[-1].cores), one.knobs).samples_range
    except ValueError:
        return None, None, ""
    return low, high, f"modelled from {sum(probe.steps for probe in probes):,} steps measured before"


def others(samples: Sequence[Sample], one: Tested, end: float) -> float | None:
    """Cores that other processes used while a profile was measured; None if nobody looked."""
    if not one.lines:
        return None
    begin, end = one.lines[0].t, min(end, one.lines[-1].t)
    within = [max(0.0, sample.cpu - sample.own_cpu) for sample in samples if begin <= sample.t <= end]
    return sum(within) / len(within) if within else None
