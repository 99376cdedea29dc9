"""When an experiment would end if it were launched now, from what ended ones of its kind have measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.config.plan import Plan
from engine.eta import timings
from engine.eta.costs import KeyTiming
from engine.eta.devices import called, on_device
from engine.eta.forecast import Forecast, before_launch
from engine.machine.cores import machine
from engine.runs.launch import Request, check, plan_for


def history(logs: Path) -> list[KeyTiming]:
    """Step times of earlier experiments in this logs folder, newest first."""
    return timings.history(logs)


def expect(request: Request, plan: Plan | None = None) -> Forecast | None:
    """When it would end if launched now, from earlier runs of the same kind, or in its text why that is not known; None
    when nothing has run here."""
    plan = plan or plan_for(request)
    prospect = prospects(request, plan)
    return prospect(plan.stop_after_runs) if prospect is not None else None


def prospects(request: Request, plan: Plan) -> Callable[[int], Forecast] | None:
    """When the first so many runs (0: all) would end if launched now; None without earlier runs to go by."""
    known = history(request.logs)
    found = surveyed(plan, known) if known else None
    if found is None:
        return None
    steps, tests, _, device = found
    return lambda count: before_launch(
        msgspec.structs.replace(plan, stop_after_runs=count), steps, tests, known, device
    )


class Survey(NamedTuple):
    """Steps of an epoch and test subjects by fold, the device that it would train on (as engine.eta.devices calls it),
    and what was measured on that."""

    steps: dict[int, int]
    tests: dict[int, int]
    timings: list[KeyTiming]
    device: str


def surveyed(plan: Plan, known: Sequence[KeyTiming]) -> Survey | None:
    """What a launch would find; None where it would be refused."""
    found, _ = check(plan, quick=True)
    if not found.ok or not found.folds:
        return None
    steps = {fold["fold"]: fold["steps_per_epoch"] for fold in found.folds}
    tests = {fold["fold"]: fold["test"] for fold in found.folds}
    device = called(found.device.get("name", ""), found.device.get("kind", ""), machine().cores)
    return Survey(steps, tests, on_device(known, device), device)
