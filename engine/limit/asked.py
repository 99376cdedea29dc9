"""The limits that come of what was typed, for a plan or a training: on top of those it has, for all of its devices."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.config.plan import Plan
from engine.journals.limit_events import Limits
from engine.limit.limits import Wanted, limits
from engine.live.state import ExperimentState


def of_plan(plan: Plan, wanted: Wanted, now: float, device: Callable[[], str]) -> Limits:
    """`device` names what it trains on, and is asked only where a budget needs its price. Raises UsageError."""
    return limits(wanted, now, device, plan.limits, len(plan.devices))


def of_training(state: ExperimentState, wanted: Wanted) -> Limits:
    """From now on, at the price of the device that its runs began on. Raises UsageError."""
    begins = [run.begin for run in (state.run, *state.runs) if run is not None and run.begin is not None]
    return of_plan(state.plan, wanted, time.time(), lambda: begins[0].device_name if begins else "")
