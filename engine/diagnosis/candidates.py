"""Profiles that a training could go on with: each complete, with what it would change and what of that it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.config import catalog
from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.config.profile import KNOBS, check_all
from engine.errors import UsageError
from engine.live.state import Tested
from engine.machine.cores import Machine
from engine.phase.plans import Wanted
from engine.runs import living
from engine.runs.choice import choose


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """`changed`: the knobs that would differ from the training's own; `fixed`: those of them that cannot change while
    it trains. `scaled`: the texts that values followed the machine by. `problem`: why it cannot be had at all."""

    name: str
    why: str = ""
    path: Path | None = None
    knobs: dict[str, Value] = {}
    scaled: dict[str, str] = {}
    changed: dict[str, Value] = {}
    fixed: tuple[str, ...] = ()
    tried: bool = False
    problem: str = ""

    @property
    def possible(self) -> bool:
        """Whether the training could take it up, and would be another one by it."""
        return not self.problem and bool(self.changed) and not self.fixed


def candidates(
    plan: Plan, wanted: Sequence[Wanted], logs: Path, tested: Sequence[Tested] = (), machine: Machine | None = None
) -> tuple[Candidate, ...]:
    """In the order they are wanted; `tested`: what the training has run with so far."""
    entries = catalog.profiles()
    found = []
    for one in wanted:
        entry = entries.get(one.profile)
        path = entry.path if entry is not None else None
        try:
            knobs, scaled = _resolved(plan, one, logs, machine)
        except UsageError as error:
            found.append(Candidate(name=one.name, why=one.why, path=path, problem=str(error)))
            continue
        changed = living.changes(plan, knobs)
        found.append(
            Candidate(
                name=one.name,
                why=one.why or (entry.title if entry is not None else ""),
                path=path,
                knobs=knobs,
                scaled=scaled,
                changed=changed,
                fixed=tuple(name for name in changed if not KNOBS[name].live),
                tried=any(_alike(held.knobs, knobs) for held in tested),
            )
        )
    return tuple(found)


def _resolved(plan: Plan, one: Wanted, logs: Path, machine: Machine | None) -> tuple[dict[str, Value], dict[str, str]]:
    """Complete: the profile's knobs, or the training's own, with the phase's on top. Locks hold as in a launch."""
    settings = check_all(one.knobs, one.place)
    if one.profile:
        profile, _ = choose(plan.experiment, one.profile, settings, logs, plan.device, machine=machine)
        return profile.knobs, profile.scaled
    for name, value in settings.items():
        lock = plan.experiment.locks.get(name)
        if lock is not None and value != plan.profile[name]:
            raise UsageError(f"{name} is locked at {shown(lock.value)} by the experiment: {lock.reason}")
    return plan.profile.knobs | settings, {}


def _alike(held: dict[str, Value], knobs: dict[str, Value]) -> bool:
    return all(value == held.get(name, KNOBS[name].default) for name, value in knobs.items() if name in KNOBS)


def every_profile() -> tuple[Wanted, ...]:
    """Each profile there is, as a phase of its own."""
    return tuple(Wanted(name=name, profile=name) for name, entry in catalog.profiles().items() if not entry.problem)


def following(found: Sequence[Candidate]) -> Candidate | None:
    """The next one: the first that can be taken up and has not been tried."""
    return next((one for one in found if one.possible and not one.tried), None)
