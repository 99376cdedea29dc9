"""Another profile for a training under way: what of it a living trainer can take, and what the plan then says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.config.knob import shown
from engine.config.plan import Plan
from engine.config.profile import KNOBS, Profile, Value, check_all, check_workers
from engine.errors import UsageError
from engine.live.watch import Watch
from engine.machine.cores import Machine, machine
from engine.memory import budget
from engine.memory.footprint import footprint
from engine.runs.control import Request
from engine.runs.devices import share

# So many changed knobs are a name.
FEW = 2


def changes(plan: Plan, knobs: dict[str, Value]) -> dict[str, Value]:
    """The knobs that would differ."""
    return {name: value for name, value in knobs.items() if name in KNOBS and value != plan.profile[name]}


def called(changed: Mapping[str, Value]) -> str:
    """A name for a profile that was never given one: what of it was changed, where that can be said in a few words."""
    few = len(changed) <= FEW
    return ", ".join(f"{name}={shown(value)}" for name, value in changed.items()) if changed and few else "edited"


def refusal(plan: Plan, asked: Request) -> str:
    """Why a living training cannot take the profile; '' if it can."""
    try:
        check_all(asked.knobs, "the profile")
    except UsageError as error:
        return str(error)
    differing = changes(plan, asked.knobs)
    if plan.experiment.command:
        return "this experiment brings its own trainer; its profile cannot be changed from here"
    fixed = [name for name in differing if not KNOBS[name].live]
    if fixed:
        kinds = {str(KNOBS[name].kind) for name in fixed}
        return (
            f"{', '.join(fixed)} cannot change in a living training ({', '.join(sorted(kinds))}, or a process of its "
            "own is needed): stop it and launch it with that profile, or test it with `steptop phases`"
        )
    locks = plan.experiment.locks
    locked = [name for name, value in differing.items() if name in locks and value != locks[name].value]
    if locked and not asked.override:
        lock = locks[locked[0]]
        return f"{locked[0]} is locked at {shown(lock.value)} by the experiment: {lock.reason}"
    return ""


def beyond(plan: Plan, asked: Request, folder: Path, here: Machine | None = None) -> str:
    """Why the machine (this one) cannot bear the profile, each of its runs in its share, with the arithmetic; '' if it
    can. `folder`: the experiment's, whose readings say what the training uses now."""
    knobs = with_profile(plan, asked).profile.knobs
    try:
        check_workers(knobs, lambda _: "the profile", share(here or machine(), plan.slots))
    except UsageError as error:
        return str(error)
    return budget.refusal(knobs, footprint(Watch(folder).quick()))


def with_profile(plan: Plan, asked: Request) -> Plan:
    """`plan` from now on: later runs and resumed ones start with the profile, and overridden locks are on record."""
    differing = changes(plan, asked.knobs)
    scaled = {name: text for name, text in plan.profile.scaled.items() if name not in differing}
    name = asked.name or plan.profile.name
    profile = Profile(name=name, knobs=plan.profile.knobs | differing, scaled=scaled)
    locks = plan.experiment.locks
    reasons = {name: lock.reason for name, lock in locks.items() if name in differing and profile[name] != lock.value}
    return msgspec.structs.replace(plan, profile=profile, overridden=plan.overridden | reasons)
