"""status, results, check, experiments: everything the screen says, as text or JSON."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from engine import status as contract
from engine.config import catalog, coupled
from engine.config.experiment import Plan, dimensions
from engine.config.knob import shown
from engine.config.leading import measure
from engine.counts import plural
from engine.errors import UsageError
from engine.eta.forecast import Estimate, Forecast, forecast
from engine.limit import afterwards
from engine.live.pace import creep_words
from engine.live.state import ENDED, ExperimentState
from engine.live.watch import Watch
from engine.machine import room
from engine.paths import experiments_in
from engine.runs import launch
from engine.runs.expected import expect
from engine.text import clean
from engine.whatif.options import recorded
from engine.whatif.wished import Wish, judged
from tui import format as fmt
from tui.phase_lines import test_lines
from tui.preparation import preparing
from tui.verbs.common import find, left_over, request_from, say
from tui.verbs.limiting import limit_lines

WATCH_SECONDS = 2.0
NOTHING_RAN = "not known yet: nothing has run here"
# An epoch is the least that is validated and compared: one that takes longer than this is said to be too long.
WISHED = Wish(6 * 3600.0, 8 * 3600.0)
ORPHANED = (
    "its supervisor is gone; the training goes on, and the next run waits for a new one: "
    "`steptop` and `steptop resume` start it"
)
# So many different shapes are listed; of more only the most frequent.
MANY, FEW = 8, 4


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
    lines = [f"{seen.experiment}  {seen.state}  profile {seen.profile}  {seen.device}"]
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
        lines.append(f"  {seen.bottleneck.headline}")
    lines += _finish_lines(state, expected) if seen.test is None else []
    lines += _machine_lines(machine, state.now)
    if seen.limit is not None:
        lines += limit_lines(seen.limit, state)
    if seen.stop is not None and seen.stop.phase != "done":
        lines.append(_stop_line(seen.stop, state))
    if orphaned(state):
        lines.append(f"  {ORPHANED}")
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
    return lines


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


def check(options: argparse.Namespace) -> int:
    """Preflight: exit code 2 if it cannot be trained."""
    plan = launch.plan_for(request_from(options))
    if plan.experiment.command:
        say("this experiment brings its own trainer; steptop has no volumes to check")
        return 0
    found, raw = launch.check(plan, quick=options.quick)
    if options.json:
        sys.stdout.write(raw.decode().strip() + "\n")
        return 0 if found.ok else 2
    details = msgspec.json.decode(raw)
    for line in check_lines(plan, details):
        say(line)
    foreseen = expect(request_from(options), plan) if found.ok else None
    if found.ok:
        known = foreseen is not None and foreseen.experiment.seconds is not None
        say(
            f"how long: {_expected(foreseen)}"
            if known and foreseen
            else f"how long: {foreseen.text if foreseen else NOTHING_RAN}"
        )
    if foreseen is not None and (long := long_epoch(plan, foreseen)):
        say(f"warning: {long}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    for error in found.errors:
        print(f"error: {clean(error)}", file=sys.stderr)
    say(
        "ready to train"
        if found.ok
        else f"{plural(len(found.errors), 'problem')}: nothing would be trained"
    )
    return 0 if found.ok else 2


def long_epoch(plan: Plan, foreseen: Forecast) -> str:
    """That an epoch takes longer than eight hours, and how many steps would not; '' if it does not."""
    train = {rung.name: part for rung in foreseen.ladder for part in rung.parts if part.name == "train"}
    step, epoch = train.get("step"), train.get("epoch")
    if step is None or epoch is None:
        return ""
    return judged(round(epoch.times), plan.experiment.epochs, step.each, WISHED).text


def _expected(expected: Forecast) -> str:
    run, every = expected.run, expected.experiment
    return (
        f"a run {fmt.duration(run.seconds or 0)}, all {fmt.duration(every.seconds or 0)} "
        f"({fmt.duration(every.low or 0)} to {fmt.duration(every.high or 0)}); {every.basis}"
    )


def check_lines(plan: Plan, details: dict[str, Any]) -> list[str]:
    """What would be trained, from the preflight's JSON."""
    runs, epochs = plural(len(plan.runs), "run"), plural(plan.experiment.epochs, "epoch")
    several = f" ({dimensions(plan.runs)})" if plan.experiment.variants else ""
    lines = [f"{plan.name}: {runs}{several} of {epochs}, profile {plan.profile.name}"]
    if plan.profile.basis:
        lines.append(f"profile {plan.profile.name}: {plan.profile.basis}")
    lines += [f"{knob} locked at {shown(lock.value)}: {lock.reason}" for knob, lock in plan.experiment.locks.items()]
    lines += [f"{name} {least.least:g} or more: {least.reason}" for name, least in plan.experiment.minimums.items()]
    if words := coupled.rule(plan.experiment.optimizer, plan.profile.knobs):
        lines.append(words)
    noun = "subjects" if plan.experiment.task == "segmentation" else f"{measure(plan.experiment).sample}s"
    lines.append(f"{noun}: {_said(details.get('subjects', 0))}")
    for name in ("shapes", "orientations", "acquisitions"):
        if details.get(name):
            lines.append(f"{name}: {_counted(details[name], name.removesuffix('s'))}")
    for name, label in (("spacings_mm", "spacing, mm"), ("lesions_mm3", "lesion, mm³")):
        if details.get(name):
            spread = details[name]
            low, middle, high = (_said(spread[part]) for part in ("low", "middle", "high"))
            lines.append(f"{label}: {low} to {high}, median {middle}")
    if details.get("strata"):
        by = f" by {' × '.join(details['stratified_by'])}" if details.get("stratified_by") else ", not stratified"
        lines.append(f"held out per fold{by}")
        lines += [f"    {name}: {' '.join(_said(n) for n in counts)}" for name, counts in details["strata"].items()]
    for fold in details.get("folds") or []:
        apart = f" (in {fold.get('test')} parts)" if "held_out" in fold else ""
        lines.append(
            f"fold {fold.get('fold')}: {_said(fold.get('train'))} train{_patches(fold)}, "
            f"{_said(fold.get('held_out', fold.get('test')))} test{apart}, "
            f"{plural(fold.get('steps_per_epoch') or 0, 'step')} per epoch"
        )
    for name in ("model", "device"):
        if details.get(name):
            lines.append(f"{name}: {', '.join(f'{key} {_said(value)}' for key, value in details[name].items())}")
    if details.get("disk"):
        sizes = (f"{key} {fmt.size(value)}" for key, value in details["disk"].items())
        lines.append(f"disk: {', '.join(sizes)}")
    if details.get("estimate"):
        names = ("activations", "weights", "gradients", "optimizer")
        parts = (f"{name} {fmt.size(details['estimate'][name])}" for name in names if details["estimate"].get(name))
        batch = details["estimate"].get("batch")
        where = _computes(plan, details)
        lines.append(f"one step of batch {batch}{where}, estimated without workspaces: {', '.join(parts)}")
    return lines + list(details.get("budget") or [])


def _patches(fold: dict[str, Any]) -> str:
    """How many samples an epoch takes of them, where that is more than one of each."""
    return f" ({fold['draws']:,} patches an epoch)" if fold.get("draws") else ""


def _computes(plan: Plan, details: dict[str, Any]) -> str:
    """` in fp32 on cpu`: half the bytes of a number are half its memory; `auto` is fp16 on a GPU of CUDA alone."""
    kind = (details.get("device") or {}).get("kind", "")
    asked = plan.profile["precision"]
    precision = asked if asked != "auto" else "fp16" if kind == "cuda" else "fp32"
    return f" in {precision} on {kind}" if kind else ""


def _counted(counts: dict[str, int], noun: str) -> str:
    """`RAS (201), LPS (12)`: the most frequent first; of many, how many more there are, and in how many volumes."""
    listed = sorted(counts.items(), key=lambda item: -item[1])
    shown = MANY if len(listed) <= MANY else FEW
    words = [f"{name} ({count:,})" for name, count in listed[:shown]]
    rest = listed[shown:]
    if rest:
        words.append(f"and {plural(len(rest), f'more {noun}')} ({sum(count for _, count in rest):,})")
    return ", ".join(words)


def _said(value: Any) -> str:
    """A figure with thousands separators and four digits that matter; anything else as it is."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


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
        say(f"  {state.plan.name:<{width}}  {state.phase:<9}  {done}")
    return 0
