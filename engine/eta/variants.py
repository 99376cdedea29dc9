"""What the steps of another variant take beside those of the present one: another network is another pace."""

from __future__ import annotations

from statistics import fmean

import msgspec

from engine.config.experiment import RunKey
from engine.eta.costs import pooled, steady_mean
from engine.live.state import ExperimentState, Part


def beside(state: ExperimentState, key: RunKey, steps: float, step_seconds: float) -> dict[str, float]:
    """For a later run of so many steps, in the units of a forecast: `apart`, the seconds that its steps take more or
    less in all as its variant's runs have shown, or `untried`, its steps, where none has. Nothing for the variant that
    `step_seconds` is of."""
    present = state.run.key.variant if state.run is not None else ""
    if not key.variant or (key.variant == present and state.run is not None):
        return {}
    own = _pace(state, key.variant)
    if own is None:
        return {"untried": steps}
    reference = _pace(state, present) or own
    return {"apart": steps * step_seconds * (own / reference - 1)}


def pooled_alike(state: ExperimentState, name: str) -> Part:
    """A span over the runs of the present variant, where they have had it, else over all runs: another network takes
    another time for a held-out case too."""
    present = state.run.key.variant if state.run is not None else ""
    own = tuple(run for run in state.runs if run.key.variant == present and name in run.parts)
    return pooled(msgspec.structs.replace(state, runs=own), name) if own else pooled(state, name)


def _pace(state: ExperimentState, variant: str) -> float | None:
    """Seconds per step over the runs of a variant, warm-up left out; None before one has a pace."""
    runs = [run for run in state.runs if run.key.variant == variant and run.pace.segments and not run.pace.warming]
    means = [mean for run in runs if (mean := steady_mean(run.pace)) > 0]
    return fmean(means) if means else None
