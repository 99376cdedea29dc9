"""What the steps of another variant take beside those of the present one: another network is another pace."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

import msgspec

from engine.config.plan import Plan
from engine.config.run_keys import RunKey, variants_of
from engine.eta.costs import UNTRIED, pooled
from engine.eta.devices import on_its_device
from engine.eta.newest import timing_for
from engine.eta.steady import comparable, meant, steady
from engine.eta.timing import KeyTiming, alone, benchmark_key
from engine.live.state import ExperimentState, Part


class Paces(msgspec.Struct, frozen=True, kw_only=True):
    """`present`: the variant whose steps are counted with. `seconds` of a step, by variant, of those that are known."""

    present: str = ""
    seconds: dict[str, float] = {}

    def beside(self, variant: str, steps: float, step_seconds: float) -> dict[str, float]:
        """For a run of so many steps, in the units of a forecast: `apart`, the seconds that its steps take more or less
        in all than so many of `step_seconds`, or `untried`, its steps, where nothing is known of its variant. Nothing
        for the present one, nor where the steps that are counted with are those of several."""
        if not variant or variant == self.present or not self.present:
            return {}
        own = self.seconds.get(variant)
        if own is None:
            return {"untried": steps}
        return {"apart": steps * step_seconds * (own / self.seconds.get(self.present, own) - 1)}

    def untried(self, runs: Iterable[RunKey]) -> tuple[str, ...]:
        """Variants of these runs of which nothing is known."""
        return tuple(name for name in variants_of(runs) if name not in (self.present, "", *self.seconds))

    def untried_words(self, runs: Iterable[RunKey]) -> tuple[str, ...]:
        """The same as a sentence, or nothing."""
        if not self.present or not (names := self.untried(runs)):
            return ()
        said = f"no step of {' or '.join(names)} was measured: taken to be as long as one of {self.present}"
        return (f"{said}, give or take {UNTRIED:.0%}",)


def paces_of(state: ExperimentState) -> Paces:
    """As the runs here have shown; of a variant that has none yet by what earlier experiments say of it beside the
    others."""
    names = variants_of(state.plan.runs)
    if len(names) < 2:
        return Paces(present=names[0] if names else "")
    present = state.run.key.variant if state.run is not None else ""
    own = {name: pace for name in names if (pace := _pace(state, name)) is not None}
    if len(own) == len(names):
        return Paces(present=present, seconds=own)
    timing = timing_for(state.plan, on_its_device(state, state.run, state.earlier.timings), state.prepared)
    if timing is None:
        return Paces(present=present, seconds=own)
    told = paces_told(state.plan, timing)
    both = next((name for name in own if name in told.seconds), "")
    scale = own[both] / told.seconds[both] if both else 1.0
    earlier = told.seconds if both or not own else {}
    seconds = {name: scale * pace for name, pace in earlier.items()} | own
    return Paces(present=present or told.present, seconds=seconds)


def paces_told(plan: Plan, timing: KeyTiming) -> Paces:
    """As an earlier experiment has it."""
    keys = {name: benchmark_key(alone(plan, name), timing.device_name) for name in variants_of(plan.runs)}
    if timing.key not in keys.values():
        return Paces()
    return Paces(
        present=next(name for name, key in keys.items() if key == timing.key),
        seconds={name: timing.paces[key] for name, key in keys.items() if key in timing.paces},
    )


def pooled_alike(state: ExperimentState, name: str) -> Part:
    """A span over the runs of the present variant, where they have had it, else over all runs: another network takes
    another time for a held-out case too."""
    present = state.run.key.variant if state.run is not None else ""
    own = tuple(run for run in state.runs if run.key.variant == present and name in run.parts)
    return pooled(msgspec.structs.replace(state, runs=own), name) if own else pooled(state, name)


def _pace(state: ExperimentState, variant: str) -> float | None:
    """Seconds per step over the runs of a variant, warm-up left out; None before one has a pace."""
    alike = comparable(state.runs, meant(state, state.run))
    means = [steady(run) for run in alike if run.key.variant == variant and not run.pace.warming]
    return fmean(means) if means else None
