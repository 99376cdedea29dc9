"""status, experiments: everything the screen says, as text or JSON."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from engine import status as contract
from engine.config import catalog
from engine.config.sources import example
from engine.counts import plural
from engine.errors import UsageError
from engine.eta.forecast import Estimate, Forecast, forecast
from engine.limit import afterwards
from engine.live import spikes
from engine.live.pace_words import creep_words
from engine.live.state import ENDED, ExperimentState
from engine.live.watch import Watch
from engine.machine import room
from engine.paths import experiments_in
from engine.runs import launch
from engine.runs.hints import for_experiment
from engine.whatif.options import recorded
from tui import format as fmt
from tui.phase_lines import test_lines
from tui.preparation import preparing
from tui.verbs.common import find, left_over, say
from tui.verbs.limiting import limit_lines
from tui.verbs.several import beside_lines, not_started_lines, so_far_lines

WATCH_SECONDS = 2.0
ORPHANED = (
    "its supervisor is gone; the training goes on, and the next run waits for a new one: "
    "`steptop` and `steptop resume` start it"
)


def status(options: argparse.Namespace) -> int:
    """One look, or `--watch` until it ends. A training without a supervisor gets one, as from the dashboard."""
    folder = find(options.logs, options.experiment)
    watch, may_help, recalled = Watch(folder), not options.readonly, False
    while True:
        state = watch.poll()
        if may_help and orphaned(state):
            may_help = False
            # Who cannot help can still look: the text says that the supervisor is gone.
            with contextlib.suppress(UsageError, OSError):
                launch.take_over(folder)
            state = watch.poll()
        if not recalled:
            recalled = True
            watch.recall()
            state = watch.poll()
        if options.json:
            told = msgspec.structs.replace(contract.status(state), decision=recorded(folder))
            sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
            sys.stdout.flush()
        else:
            for line in [*status_lines(state), *decision_lines(folder)]:
                say(line)
        if not options.watch or state.phase in ENDED:
            return 0
        if not options.json:
            say("")
        time.sleep(WATCH_SECONDS)


def decision_lines(folder: Path) -> list[str]:
    """What somebody chose of the options (`steptop estimate`)."""
    decision = recorded(folder)
    if decision is None:
        return []
    when = fmt.moment(decision.at, time.time())
    runs = plural(decision.runs, "run")
    return [f"  decided: {decision.title}, {runs}, on {decision.hardware} ({decision.by}, {when})"]


def orphaned(state: ExperimentState) -> bool:
    """Whether it trains without a supervisor."""
    return state.trainer_alive and not state.supervisor_alive and state.ended is None


def status_lines(state: ExperimentState) -> list[str]:
    """The dashboard in a dozen lines."""
    seen, expected = contract.status(state), forecast(state)
    run, machine = seen.run, seen.machine
    lines = [f"{seen.experiment}  {seen.state}  profile {state.plan.profile.said}  {seen.device}"]
    if example(state.plan.experiment):
        lines.append(f"  {seen.data}")
    if state.phase == "preparing" and state.preparing is not None:
        lines.append(f"  {preparing(state)[0]}")
    if seen.test is not None:
        lines += test_lines(seen.test, state.now)
    elif run is not None:
        lines.append(
            f"  run {run.index}/{run.total} ({f'{run.variant} fold {run.fold} restart {run.restart}'.lstrip()})"
            + (f"  epoch {run.epoch}/{run.epochs}  step {run.step}/{run.steps_per_epoch}" if run.epochs else "")
            + (f"  {run.activity}" if run.activity else "")
        )
    if seen.step_seconds:
        rate = f"  {seen.samples_per_second:.3g} samples/s" if seen.samples_per_second else ""
        rate += f"  {fmt.rate(seen.tokens_per_second, 'token/s')}" if seen.tokens_per_second else ""
        lines.append(f"  {fmt.duration(seen.step_seconds)}/step{rate}  loss {_number(run.loss if run else None)}")
        spans = "  ".join(f"{name} {fmt.duration(seconds)}" for name, seconds in seen.spans.items() if seconds)
        lines.append(f"  {spans}")
        rare = spikes.spikes(state.run) if state.run is not None else ()
        lines += [f"  {spikes.said(one, fmt.duration(one.seconds))}" for one in rare]
        lines.append(f"  {seen.bottleneck.headline}")
    lines += [*beside_lines(seen, state.now), *_finish_lines(state, expected)] if seen.test is None else []
    lines += [*so_far_lines(seen, state), *not_started_lines(state)]
    lines += _machine_lines(machine, state.now)
    if seen.limit is not None:
        lines += limit_lines(seen.limit, state)
    if seen.stop is not None and seen.stop.phase != "done":
        lines.append(_stop_line(seen.stop, state))
    if orphaned(state):
        lines.append(f"  {for_experiment(ORPHANED, Path(state.folder).name)}")
    if state.disk_full:
        lines.append(f"  {room.GOES_ON}")
    if seen.verdict is not None and state.phase in ENDED:
        said = state.ended is not None and state.ended.text.startswith(seen.verdict.text)
        lines += [f"  {state.ended.text if said and state.ended else seen.verdict.text}"]
        lines += [f"      {line}" for line in seen.verdict.evidence]
        # With a limit used up the command that works is among the limit's lines.
        told = seen.limit is not None and afterwards.refused(state)
        lines += [f"  {seen.verdict.advice}"] if seen.verdict.advice and not told else []
    if state.ended is not None and not (seen.verdict is not None and state.ended.text.startswith(seen.verdict.text)):
        lines.append(f"  {state.ended.text}")
    if state.phase in ENDED and (left := left_over(state)):
        lines.append(f"  {left}")
    if seen.stalled_seconds:
        lines.append(f"  nothing new for {fmt.duration(seen.stalled_seconds)}: stalled?")
    if _waits(state) and not any("steptop resume" in line for line in lines):
        lines.append(f"  `steptop resume {Path(state.folder).name}` goes on")
    return lines


def _waits(state: ExperimentState) -> bool:
    """Whether it was stopped with runs left to train."""
    return state.phase == "stopped" and state.plan.test is None and state.runs_finished < len(state.runs)


def _stop_line(stop: contract.StopStatus, state: ExperimentState) -> str:
    """What stops, when, and how far that has got."""
    running = state.run is not None and state.run.phase == "running"
    after = f"after {fmt.plural(stop.after_runs, 'more run')}" if stop.after_runs else "before the next run"
    words = {"after_run": "after this run" if stop.after_runs == 1 and running else after, "force": "by force"}
    at = f", {fmt.clock(stop.at, state.now)}" if stop.at else ""
    return f"  stop {words.get(stop.mode, stop.mode)}: {stop.phase}{at}"


def _machine_lines(machine: contract.MachineStatus, now: float) -> list[str]:
    """Processor, memory, disk and GPUs; an old reading says of when it is."""
    if not machine.cores:
        return []
    used = (machine.ram_total or 0) - (machine.ram_available or 0)
    when = "" if machine.current else f"at {fmt.moment(machine.at, now)}: "
    lines = [
        f"  {when}CPU {machine.cpu or 0:.1f} of {machine.cores} cores  RAM {fmt.fraction(used, machine.ram_total)}  "
        f"disk {fmt.size(machine.disk_free or 0)} free"
    ]
    for gpu in machine.gpus:
        util = "–" if gpu.util is None else f"{gpu.util:.0f} %"
        memory = (
            "–" if gpu.memory_used is None else f"{fmt.size(gpu.memory_used)} of {fmt.size(gpu.memory_total or 0)}"
        )
        lines.append(f"  {when}GPU {gpu.index} {gpu.name}  {util}  {memory}")
    if not machine.gpus:
        lines.append(f"  GPU –  {machine.gpu_reason}")
    return lines


def _finish_lines(state: ExperimentState, expected: Forecast) -> list[str]:
    if state.phase in ENDED:
        return []
    rows: tuple[tuple[str, Estimate], ...] = (
        ("epoch", expected.epoch),
        ("run", expected.run),
        ("all runs", expected.experiment),
    )
    lines = [
        f"  {name:<9} ends {fmt.clock(e.at, state.now)}  in {fmt.duration(e.seconds)}  "
        f"({fmt.duration(e.low or 0)} to {fmt.duration(e.high or 0)})"
        for name, e in rows
        if e.seconds is not None and e.at is not None
    ]
    beside = [f"  {text}" for text in pace_words(expected)]
    return [*lines, f"  {expected.text or expected.run.basis}", *beside]


def pace_words(expected: Forecast) -> list[str]:
    """What has become of the pace: its newest change with the likely cause, and a creep."""
    said = [f"{change.words}: {change.cause}" for change in expected.changes[-1:]]
    return [*said, *([f"steps take longer and longer {creep_words(expected.creep)}"] if expected.creep else [])]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def experiments(options: argparse.Namespace) -> int:
    """Built-in and own experiment files, then what is in the logs folder."""
    entries = catalog.experiments()
    folders = experiments_in(options.logs) if options.logs.is_dir() else []
    states = [Watch(folder).quick() for folder in folders]
    if options.json:
        body = {
            "experiments": [msgspec.to_builtins(entry, enc_hook=str) for entry in entries.values()],
            "logs": [
                {
                    "name": s.plan.name,
                    "folder": s.folder,
                    "state": s.phase,
                    "runs": len(s.runs),
                    "finished": s.runs_finished,
                }
                for s in states
            ],
        }
        sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
        return 0
    width = max((len(name) for name in entries), default=0)
    for entry in entries.values():
        say(f"{entry.name:<{width}}  {entry.problem or entry.title}{'  (yours)' if entry.own else ''}")
    if states:
        say("")
        say(f"in {options.logs}:")
    width = max((len(state.plan.name) for state in states), default=0)
    for state in states:
        done = f"{state.runs_finished} of {plural(len(state.runs), 'run')} finished"
        done = done if state.plan.test is None else f"a test of profiles ({state.plan.test.kind})"
        say(f"  {state.plan.name:<{width}}  {state.phase:<9}  {done}")
    return 0
