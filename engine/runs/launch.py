"""Start an experiment: decide everything, make every folder and the manifest, then let a detached supervisor go."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from engine.config import catalog, minimums
from engine.config.hashes import training_hash
from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.run_keys import runs_of
from engine.config.sources import given
from engine.errors import DataError, UsageError
from engine.journals.journal import read
from engine.journals.limit_events import Limits, OnFinish
from engine.journals.records import ProcessInfo, SupervisorInfo
from engine.limit import asked, limits, notify
from engine.limit.limits import Wanted
from engine.machine import cores
from engine.machine.room import OTHER_LOGS, writable
from engine.paths import (
    RUNS,
    ExperimentPaths,
    cache_folder,
    checked_name,
    read_json,
    write_json,
)
from engine.process import alive
from engine.runs import again
from engine.runs.choice import choose
from engine.runs.devices import places, share
from engine.runs.manifest import manifest
from engine.runs.placing import Finished, Place, Running, place_for, settled
from engine.runs.queue import Order, ordered
from engine.runs.spending import reckoned

START_SECONDS = 15.0
CHECK_SECONDS = 600.0
LOCKED = 75

# Supervisors this process started. They are not waited for; keeping them spares a warning at exit.
_started: list[subprocess.Popen[bytes]] = []


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asks to be launched; None where the experiment decides. `notify`: addresses of webhooks.

    `order`: None for that of a folder that is there already, of a new one all restarts of a fold, then the next's."""

    experiment: str
    logs: Path
    name: str | None = None
    profile: str | None = None
    data: Path | None = None
    folds: tuple[int, ...] | None = None
    restarts: int | None = None
    variants: tuple[str, ...] | None = None
    epochs: int | None = None
    device: str | None = None
    slots: int | None = None
    order: Order | None = None
    retries: int = 0
    settings: dict[str, Value] = {}
    stop_after_runs: int = 0
    override_locks: bool = False
    over_budget: bool = False
    command: tuple[str, ...] = ()
    limits: Wanted = Wanted()
    on_finish: OnFinish | None = None
    notify: tuple[str, ...] = ()


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What the preflight found; the other keys of its JSON are for people."""

    ok: bool
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    folds: tuple[dict[str, int], ...] = ()
    device: dict[str, str] = {}


def plan_for(request: Request, without_data: bool = False) -> Plan:
    """Everything decided, nothing written. Raises UsageError for anything unknown, locked or out of range, and for data
    that are not given unless it shall do `without_data`."""
    if request.experiment.endswith(again.ENDING):
        return _limited(request, _again(request))
    stem = Path(request.experiment).stem if request.experiment.endswith(".toml") else request.experiment
    experiment = catalog.experiment_named(request.experiment)
    if request.epochs is not None:
        if request.epochs < 1:
            raise UsageError(f"--epochs {request.epochs}: it must be 1 or more")
        experiment = msgspec.structs.replace(experiment, epochs=request.epochs)
    less = minimums.below(experiment.minimums, experiment)
    if less and not request.override_locks:
        said = "; ".join(less.values())
        raise UsageError(f"{said}. To train with less all the same, add --override-locks; it will be recorded")
    here = cores.machine()
    device, devices, slots = places(request.device, request.slots, here)
    name = request.profile or experiment.profile
    profile, overridden = choose(
        experiment, name, request.settings, request.logs, device, request.override_locks, share(here, slots),
        request.variants,
    )
    if request.stop_after_runs < 0:
        raise UsageError("--stop-after-run must be 1 or more")
    plan = Plan(
        name=checked_name(stem if request.name is None else request.name),
        experiment_name=stem,
        experiment=experiment,
        profile=profile,
        runs=ordered(runs_of(experiment, request.folds, request.restarts, request.variants), request.order or "folds"),
        data_dir=given(request.data, stem, experiment, without_data),
        cache_dir=str(cache_folder(request.logs.resolve())),
        device=device,
        devices=devices,
        slots=slots,
        retries=request.retries,
        stop_after_runs=request.stop_after_runs,
        training_hash=training_hash(experiment, profile),
        overridden=overridden | {name: experiment.minimums[name].reason for name in less},
        over_budget=request.over_budget,
        command=request.command or ("steptop", "run", request.experiment),
        created=time.time(),
        on_finish=request.on_finish,
    )
    return _limited(request, plan)


def _limited(request: Request, plan: Plan) -> Plan:
    if not request.limits.any:
        return plan
    held = asked.of_plan(plan, request.limits, plan.created, lambda: device_name(plan))
    return msgspec.structs.replace(plan, limits=held)


def _again(request: Request) -> Plan:
    """What a manifest.json says, on the devices that are asked for."""
    again.refuse(request.experiment, {
        "--profile": request.profile, "--set": request.settings, "--folds": request.folds, "--epochs": request.epochs,
        "--restarts": request.restarts, "--variants": request.variants, "--override-locks": request.override_locks,
    })
    found = again.read(Path(request.experiment))
    plan = again.plan_of(found, request.name, request.data, cache_folder(request.logs.resolve()))
    device, devices, slots = places(request.device, request.slots, cores.machine())
    return msgspec.structs.replace(
        plan, device=device, devices=devices, slots=slots, retries=request.retries,
        stop_after_runs=request.stop_after_runs, over_budget=request.over_budget,
        command=request.command or ("steptop", "run", request.experiment), created=time.time(),
        on_finish=request.on_finish,
    )


def device_name(plan: Plan) -> str:
    """What it would train on, in the driver's words; '' for a trainer of one's own, which nobody can ask before."""
    return "" if plan.experiment.command else check(plan, quick=True)[0].device.get("name", "")


def check(plan: Plan, quick: bool = False) -> tuple[Check, bytes]:
    """The preflight in a process of its own (it reads volumes); its verdict and its whole JSON.

    Raises DataError if it could not look at all. Nothing of it stays on disk.
    """
    command = [sys.executable, "-P", "-m", "engine.training.check", *(["--quick"] if quick else []), "-"]
    done = subprocess.run(
        command, input=msgspec.json.encode(plan), capture_output=True, timeout=CHECK_SECONDS, check=False
    )
    try:
        return msgspec.json.decode(done.stdout, type=Check), done.stdout
    except msgspec.MsgspecError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise DataError(f"the preflight check failed: {last[0] if last else f'exit code {done.returncode}'}") from None


def place_of(request: Request, plan: Plan) -> Place:
    """Where it goes, and its queue there. Raises UsageError where it cannot go anywhere (engine.runs.placing)."""
    named = (request.folds, request.restarts, request.variants) != (None, None, None)
    some = named or request.experiment.endswith(again.ENDING)
    return place_for(request.logs, plan, request.name is not None, some, request.order is not None)


def start(request: Request, plan: Plan | None = None) -> Path:
    """Launch, detached; returns the experiment's folder once its supervisor has the lock.

    Raises UsageError/DataError before anything is written if it cannot be trained.
    """
    plan = plan or plan_for(request)
    writable(request.logs, OTHER_LOGS)
    place = place_of(request, plan)
    folder, plan = place.folder, place.plan
    if why := limits.used_up(reckoned(read(ExperimentPaths(folder).events), plan.limits, 0.0), time.time(), 0.0):
        raise UsageError(f"{why}; {folder.name} goes on with another --until, --deadline or --budget")
    if not plan.experiment.command:
        found, _ = check(plan, quick=True)
        if not found.ok:
            raise DataError("\n".join(found.errors))
    lay_out(folder, plan)
    notify.write_targets(folder, request.notify)
    supervise(folder)
    return folder


def lay_out(folder: Path, plan: Plan) -> None:
    """Every folder, an empty log for every run, plan and manifest: there from the first second."""
    paths = ExperimentPaths(folder)
    for needed in (folder, paths.control, paths.acknowledged):
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    _run_folders(paths, plan)
    for left in paths.control.glob("*.json"):
        left.unlink()
    write_json(paths.manifest, manifest(plan))
    write_json(paths.plan, plan)


def _run_folders(paths: ExperimentPaths, plan: Plan) -> None:
    for key in plan.runs:
        run = paths.run(*key.at)
        run.folder.mkdir(mode=0o700, exist_ok=True)
        run.console.touch(mode=0o600)


def supervise(folder: Path) -> None:
    """Start a supervisor for a laid-out experiment, in a session of its own, and wait until it has the lock.

    Raises UsageError if another one has it, or if it ends at once (with the end of its log).
    """
    paths = ExperimentPaths(folder)
    log = os.open(paths.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.runs.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
        )
    finally:
        os.close(log)
    _started.append(child)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        info = read_json(paths.supervisor, SupervisorInfo)
        if info is not None and info.who.pid == child.pid:
            return
        if child.poll() is not None:
            if child.returncode == LOCKED:
                raise Running(folder)
            tail = paths.supervisor_log.read_text(errors="replace").strip().splitlines()[-1:]
            raise UsageError(
                f"the supervisor ended at once ({tail[0] if tail else child.returncode}); see {paths.supervisor_log}"
            )
        time.sleep(0.02)
    raise UsageError(f"the supervisor did not start within {START_SECONDS:.0f} s; see {paths.supervisor_log}")


def resume(
    folder: Path, stop_after_runs: int = 0, wanted: Wanted | None = limits.NOTHING, on_finish: OnFinish | None = None,
    urls: tuple[str, ...] | None = None,
) -> None:
    """Go on with an experiment that was stopped, failed or lost; `wanted`: limits on top of those it has, None for
    none at all. Raises UsageError if it runs, has nothing left, or a limit is used up."""
    paths = ExperimentPaths(folder)
    plan = read_json(paths.plan, Plan)
    if plan is None:
        raise UsageError(f"{folder} is not an experiment: it has no readable plan.json")
    state = settled(folder)
    if state.supervisor_alive:
        raise Running(folder)
    if state.phase == "finished":
        raise Finished(folder)
    held = Limits()
    if wanted is not None:
        held = asked.of_training(state, wanted) if wanted.any else plan.limits
        record = reckoned(read(paths.events), held, 0.0)
        if wanted.until or wanted.deadline or wanted.budget:
            held = limits.outlived(wanted, held, record, state.reached, time.time())
            record = msgspec.structs.replace(record, limits=held)
        why = limits.same_again(state.reached, plan.limits, held) or limits.used_up(record, time.time(), 0.0)
        if why:
            raise UsageError(f"{why}: give it another with --until, --deadline or --budget, or go on with --no-limit")
    writable(folder.parent)
    fresh = msgspec.structs.replace(
        plan, stop_after_runs=stop_after_runs, limits=held, on_finish=on_finish or plan.on_finish
    )
    _run_folders(paths, fresh)
    if fresh != plan:
        write_json(paths.plan, fresh)
    if urls is not None:
        notify.write_targets(folder, urls)
    for left in paths.control.glob("*.json"):
        left.unlink()
    supervise(folder)


def take_over(folder: Path) -> bool:
    """A supervisor for a trainer that lost its own; False if there is no such trainer."""
    paths = ExperimentPaths(folder)
    info = read_json(paths.supervisor, SupervisorInfo)
    if info is not None and alive(info.who):
        return False
    orphans = (read_json(file, ProcessInfo) for file in folder.glob(f"{RUNS}/process.json"))
    if not any(orphan is not None and alive(orphan.who) for orphan in orphans):
        return False
    try:
        supervise(folder)
    except Running:
        return False
    return True
