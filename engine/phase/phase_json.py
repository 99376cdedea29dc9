"""Test phases as the documented JSON of `bench`, `phases` and `compare` (docs/phases.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.config.knob import Value
from engine.journals.events import Use
from engine.journals.record import Mode
from engine.phase.bench_words import conclusions
from engine.phase.extrapolation import ranges
from engine.phase.phases import PhaseResult, best


class Range(msgspec.Struct, frozen=True):
    """`value` with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


class PhaseJson(msgspec.Struct, frozen=True, kw_only=True):
    """One phase. Seconds, samples per second, bytes; null where nothing was measured."""

    number: int
    name: str
    mode: Mode
    knobs: dict[str, Value]
    changed: dict[str, Value]
    attributable: bool
    verdict: str
    text: str
    evidence: tuple[str, ...]
    advice: str
    expected: Range
    expected_basis: str
    samples_per_second: Range
    step_seconds: float | None
    steps: int
    warmup_steps: int
    rounds: int
    repeated: int
    spans: dict[str, float]
    load_seconds: float | None
    load_cv: float | None
    ratio: Range
    swap_seconds: float | None
    seconds: dict[str, float]
    use: Use
    seconds_range: dict[str, tuple[float, float]] = {}


class PhasesJson(msgspec.Struct, frozen=True, kw_only=True):
    """`best`: the number of the phase to choose, the first one unless another is surely faster."""

    format: int = 1
    experiment: str
    state: str
    kind: str
    phases: tuple[PhaseJson, ...]
    best: int | None
    text: str
    conclusions: tuple[str, ...] = ()


def document(
    experiment: str,
    state: str,
    kind: str,
    found: Sequence[PhaseResult],
    text: str = "",
    knobs: dict[str, Value] | None = None,
) -> PhasesJson:
    """The whole document. `knobs`: what the test found best."""
    winner = best(found, knobs)
    return PhasesJson(
        experiment=experiment,
        state=state,
        kind=kind,
        phases=tuple(_phase(one) for one in found),
        best=winner.number if winner is not None else None,
        text=text,
        conclusions=conclusions(found),
    )


def _phase(one: PhaseResult) -> PhaseJson:
    found = one.measured
    known: dict[str, Any] = {}
    for name, none in (
        ("step_seconds", None),
        ("steps", 0),
        ("warmup_steps", 0),
        ("spans", {}),
        ("load_seconds", None),
    ):
        known[name] = getattr(found, name) if found is not None else none
    mean = (one.low + one.high) / 2 if one.low is not None and one.high is not None else None
    return PhaseJson(
        number=one.number,
        name=one.name,
        mode=one.mode,
        knobs=one.knobs,
        changed=one.changed,
        attributable=one.attributable,
        verdict=one.verdict,
        text=one.text,
        evidence=one.evidence,
        advice=one.advice,
        expected=Range(mean, one.low, one.high),
        expected_basis=one.basis,
        samples_per_second=Range(found.samples_per_second, found.samples_low, _finite(found.samples_high))
        if found is not None
        else Range(None, None, None),
        load_cv=found.load_cv if found is not None else None,
        rounds=one.rounds,
        repeated=one.repeated,
        ratio=Range(one.ratio.value, one.ratio.low, _finite(one.ratio.high))
        if one.ratio is not None
        else Range(None, None, None),
        swap_seconds=one.swap_seconds,
        seconds=one.seconds,
        seconds_range=ranges(one),
        use=one.use,
        **known,
    )


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
