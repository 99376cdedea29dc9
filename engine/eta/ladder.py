"""From a step to the experiment: every rung with its range, its end, what it rests on and what it consists of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from engine.eta.costs import Cost, Kind
from engine.eta.interval import Estimate, ending, interval
from engine.eta.rhythm import Amounts
from engine.live.state import ExperimentState, RunState

RungName: TypeAlias = Literal["step", "epoch", "run", "stop_here", "fold", "experiment"]

WORDS = {"step": "train", "drift": "train", "apart": "train", "gap": "between runs", "volume": "reconstruct"}


class Part(msgspec.Struct, frozen=True):
    """What of the time left goes into one thing: seconds in all, how many times, seconds each, how that is known."""

    name: str
    seconds: float
    times: float
    each: float
    basis: str
    kind: Kind


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """`runs`: how many trainings end within it. `kind`: of the part that takes longest."""

    name: RungName
    label: str
    estimate: Estimate
    parts: tuple[Part, ...] = ()
    runs: int = 0

    @property
    def kind(self) -> Kind | None:
        return max(self.parts, key=lambda part: part.seconds).kind if self.parts else None


def parts_of(amounts: Amounts, costs: Mapping[str, Cost]) -> tuple[Part, ...]:
    """The longest first. What steps of other runs take more or less is in `train`."""
    found: dict[str, Part] = {}
    for name, count in amounts.items():
        cost = costs[name]
        if not (seconds := count * cost.mean):
            continue
        word = WORDS.get(name, name.removesuffix(" (whole)"))
        held = found.get(word)
        if held is None:
            found[word] = Part(word, seconds, count, cost.mean, cost.basis, cost.kind)
        else:
            times = held.times + (count if name not in ("drift", "apart") else 0.0)
            total = held.seconds + seconds
            found[word] = Part(word, total, times, total / times if times else 0.0, held.basis, held.kind)
    return tuple(sorted(found.values(), key=lambda part: part.seconds, reverse=True))


def step_rung(state: ExperimentState, run: RunState, costs: Mapping[str, Cost]) -> Rung:
    """The step under way: how long one takes, and when this one ends."""
    whole = interval({"step": 1.0}, costs, costs["step"].basis)
    gone = 0.0 if run.activity else max(0.0, state.now_monotonic - run.last_monotonic)
    ends = ending(whole, state.now - min(gone, whole.seconds or 0.0))
    return Rung(name="step", label="step", estimate=ends, parts=parts_of({"step": 1.0}, costs))


def rung(
    name: RungName, label: str, estimate: Estimate, amounts: Amounts, costs: Mapping[str, Cost], runs: int = 0
) -> Rung:
    return Rung(name=name, label=label, estimate=estimate, parts=parts_of(amounts, costs), runs=runs)


def last_of_fold(run: RunState, later: list[RunState]) -> int:
    """How many of the runs to come, in their order, it takes until every run of the present fold has ended."""
    return max((index for index, other in enumerate(later, start=1) if other.key.fold == run.key.fold), default=0)
