"""Start a test of profiles: an experiment folder of its own, whose supervisor visits profiles instead of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from engine.config import catalog
from engine.config.knob import Value
from engine.config.plan import Phase, Plan, Test
from engine.config.profile import KNOBS, check_all
from engine.errors import DataError, UsageError
from engine.machine import room
from engine.phase.plans import Wanted
from engine.runs import launch
from engine.runs.choice import choose

FEWEST_STEPS = 4


def first_profile(request: launch.Request) -> str:
    """The profile a launch would use."""
    return request.profile or catalog.experiment_named(request.experiment).profile


def plan_for(
    request: launch.Request,
    kind: Literal["bench", "phases", "tune"],
    wanted: Sequence[Wanted] = (),
    steps: int | None = None,
    gate: bool = True,
    batch_sizes: tuple[int, ...] = (),
) -> Plan:
    """Everything decided, nothing written. Raises UsageError for anything unknown, locked or out of range.

    `steps` None: as many as the precision needs.
    """
    if steps is not None and steps < FEWEST_STEPS:
        raise UsageError(f"--steps {steps}: {FEWEST_STEPS} or more; about 50 tell 5 % apart")
    check_batch_sizes(batch_sizes)
    base = launch.plan_for(request)
    if base.experiment.command:
        raise UsageError(f"{base.experiment_name} brings its own trainer; only steptop's own can be tested by phases")
    phases = tuple(_phase(request, base, one) for one in wanted) or (
        Phase(name=base.profile.name, knobs=base.profile.knobs),
    )
    return msgspec.structs.replace(
        base,
        name=request.name or f"{base.experiment_name}-{kind}",
        runs=base.runs[:1],
        test=Test(kind=kind, phases=_distinct(phases), steps=steps or 0, gate=gate, batch_sizes=batch_sizes),
    )


def check_batch_sizes(sizes: Sequence[int]) -> None:
    for size in sizes:
        KNOBS["batch_size"].check(size, "--batch-sizes")


def _phase(request: launch.Request, base: Plan, one: Wanted) -> Phase:
    """A profile's or the launch's knobs, with the phase's own on top. Locks hold as in a launch."""
    settings: dict[str, Value] = check_all(one.knobs, one.place)
    name = one.profile or request.profile or base.experiment.profile
    try:
        profile, _ = choose(
            base.experiment, name, request.settings | settings, request.logs, base.device, request.override_locks,
            variants=request.variants,
        )
    except UsageError as error:
        raise UsageError(f"phase {one.name!r}: {error}") from None
    return Phase(name=one.name, knobs=profile.knobs, why=one.why)


def _distinct(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Without those that would measure what an earlier one measures."""
    kept: list[Phase] = []
    for phase in phases:
        if all(phase.knobs != held.knobs for held in kept):
            kept.append(phase)
    return tuple(kept)


def start(request: launch.Request, plan: Plan) -> Path:
    """Launch the test, detached, in a folder of its own; returns it. Raises UsageError/DataError before anything is
    written if it cannot be."""
    room.writable(request.logs, room.OTHER_LOGS)
    folder = _free(request.logs.resolve(), plan.name, request.name is not None)
    plan = msgspec.structs.replace(plan, name=folder.name)
    found, _ = launch.check(plan, quick=True)
    if not found.ok:
        raise DataError("\n".join(found.errors))
    launch.lay_out(folder, plan)
    launch.supervise(folder)
    return folder


def _free(logs: Path, name: str, asked: bool) -> Path:
    for number in range(1, 1000):
        folder = logs / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() or not any(folder.iterdir()):
            return folder
        if asked:
            raise UsageError(f"{folder} is there already; choose another --name")
    raise UsageError(f"a thousand folders are called {name}-N already; remove some")
