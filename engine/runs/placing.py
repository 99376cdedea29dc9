"""Which folder a launch goes into, and what its queue is then: a folder keeps one configuration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.config.plan import Plan
from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.machine.room import OTHER_LOGS
from engine.paths import ExperimentPaths, read_json
from engine.runs.joined import beyond, joined

SETTLE_SECONDS = 5.0


class Place(NamedTuple):
    """`said`: a sentence if it is another folder than asked for, or one that is gone on in. `plan`: with the runs that
    the folder has already, of which so many are `done`; `left`: with the others alone."""

    folder: Path
    said: str
    plan: Plan
    done: int
    left: Plan


class Running(UsageError):
    """The very experiment is running already. `more`: how what it does not train would be added."""

    def __init__(self, folder: Path, more: str = "") -> None:
        said = f"{folder.name} is already running in {folder}; `steptop` shows it, `steptop stop` ends it"
        super().__init__(said + more)
        self.folder, self.more = folder, more


class Finished(UsageError):
    """The very experiment is finished already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder.name} is finished already: `steptop results {folder.name}` shows it; "
            "to train again choose another --name"
        )
        self.folder = folder


def place_for(logs: Path, plan: Plan, named: bool = False, some: bool = False, reorder: bool = False) -> Place:
    """The experiment's folder under `logs`. `named`: by the user, who does not want another one. `some`, `reorder`: of
    its runs, as engine.runs.joined has them.

    Another configuration under the same name goes to NAME-2. Raises UsageError if that very experiment is running, or
    finished, or has runs to do that are not among the `some` that are asked for.
    """
    for number in range(1, 100):
        folder = logs.resolve() / (plan.name if number == 1 else f"{plan.name}-{number}")
        paths = ExperimentPaths(folder)
        held = read_json(paths.plan, Plan)
        if held is None:
            if _occupied(folder):
                raise UsageError(f"{folder} exists and is not an experiment of steptop's; choose another --name")
            first = logs / plan.name
            said = "" if number == 1 else f"{first} holds another configuration; this one is {folder.name}"
            fresh = msgspec.structs.replace(plan, name=folder.name)
            return Place(folder, said, fresh, 0, fresh)
        if held.test is None and held.training_hash == plan.training_hash and held.data_dir == plan.data_dir:
            state = settled(folder)
            if state.supervisor_alive or state.trainer_alive:
                raise Running(folder, beyond(folder.name, held, plan))
            if state.phase == "finished" and set(plan.runs) <= set(held.runs) and not _changed(held, plan):
                raise Finished(folder)
            finished = {key.at for key in held.runs if paths.run(*key.at).results.exists()}
            queue = joined(folder.name, held, plan, finished, some, reorder)
            said = f"goes on where it was: finished runs are kept{queue.said}"
            whole = msgspec.structs.replace(plan, name=folder.name, runs=queue.runs)
            left = tuple(key for key in queue.runs if key.at not in finished)
            return Place(folder, said, whole, len(whole.runs) - len(left), msgspec.structs.replace(whole, runs=left))
        if named:
            raise UsageError(
                f"{folder} holds another configuration ({difference(held, plan)}); "
                "choose another --name, or move it away"
            )
    raise UsageError(f"a hundred folders are called {plan.name}-N already; choose another --name")


def settled(folder: Path) -> ExperimentState:
    """The present state; a supervisor that has written its last line is given the moment it needs to be gone."""
    watch, deadline = Watch(folder), time.monotonic() + SETTLE_SECONDS
    state = watch.quick()
    while state.ended is not None and state.supervisor_alive and time.monotonic() < deadline:
        time.sleep(0.05)
        state = watch.quick()
    return state


def difference(held: Plan, wanted: Plan) -> str:
    """What two plans train differently, in words."""
    said = ["a test of profiles"] if held.test is not None else []
    if held.data_dir != wanted.data_dir:
        said.append(f"data {held.data_dir or 'built-in'}")
    for field in msgspec.structs.fields(type(held.experiment)):
        a, b = getattr(held.experiment, field.name), getattr(wanted.experiment, field.name)
        if a != b and field.name not in ("title", "target", "knobs", "locks", "profile"):
            said.append(f"{field.name} {a}" if not isinstance(a, msgspec.Struct) else f"another [{field.name}]")
    said += [f"{k} {v}" for k, v in held.profile.knobs.items() if wanted.profile.knobs.get(k) != v]
    return ", ".join(said[:4]) or "other settings"


def _changed(held: Plan, wanted: Plan) -> bool:
    """Whether a variant that is to be trained sets something else by now: its runs are done anew then."""
    known, now = held.experiment.variants, wanted.experiment.variants
    return any(known[key.variant].set != now[key.variant].set for key in wanted.runs if key.variant in known)


def _occupied(folder: Path) -> bool:
    try:
        return folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read ({error.strerror}): {OTHER_LOGS}") from None
