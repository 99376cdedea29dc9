"""queue: what waits for its turn, and another order for it."""

from __future__ import annotations

import argparse
import time

import msgspec

from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, write_json
from engine.runs import control
from engine.runs.requeue import At, Wish, requeued
from tui.verbs.common import find, run_at, say

ANSWER_SECONDS = 5.0


def queue(options: argparse.Namespace) -> int:
    """Show the runs; with options, put what waits into another order and wait for the supervisor's answer."""
    folder = find(options.logs, options.experiment)
    state = Watch(folder).poll()
    wish = Wish(
        first=_runs(options.first, "--first"), last=_runs(options.last, "--last"), skip=_runs(options.skip, "--skip"),
        add=_runs(options.add, "--add"),
    )
    if not wish.any:
        for line in lines(state):
            say(line)
        return 0
    if options.readonly:
        raise UsageError("--readonly: `queue` with another order changes something; leave one of them out")
    if state.plan.test is not None:
        raise UsageError(f"{folder.name} is a test of profiles: it has no runs that wait")
    paths = ExperimentPaths(folder)
    # What has failed may wait for another try or have had its last: its supervisor knows. A resume tries all of them.
    waiting = [run.key.at for run in state.runs if not tried(run.phase)] if state.supervisor_alive else None
    runs = requeued(state.plan, {run.key.at for run in state.runs if begun(run.phase)}, wish, waiting).runs
    if not state.supervisor_alive:
        write_json(paths.plan, msgspec.structs.replace(state.plan, runs=runs))
        say(f"{folder.name}: changed; it is {state.phase}, and `steptop resume {folder.name}` goes on so")
        return 0
    name = control.request(paths, "queue", by="the command line", queue=wish)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        if (answer := control.answer_to(paths, name)) is not None:
            if not answer.accepted:
                raise UsageError(answer.text)
            say(f"{folder.name}: {answer.text}")
            return 0
        time.sleep(0.05)
    say(f"{folder.name}: asked for, not acknowledged yet; it holds as soon as its supervisor reads it")
    return 0


def begun(phase: str) -> bool:
    """Whether a run in that phase keeps its place."""
    return phase in ("running", "finished")


def tried(phase: str) -> bool:
    """Whether a run in that phase has had a try and need not get another."""
    return begun(phase) or phase in ("failed", "lost")


def lines(state: ExperimentState) -> list[str]:
    """A line for each run, in the order they are trained in."""
    width = max((len(run.key.name) for run in state.runs), default=0)
    return [
        f"{place:>3}  {run.key.name:<{width}}  {run.phase}"
        + (f"  {run.step / run.steps_total:.0%}" if run.phase == "running" and run.steps_total else "")
        for place, run in enumerate(state.runs, start=1)
    ]


def _runs(texts: list[str], option: str) -> tuple[At, ...]:
    return tuple(run_at(text, option) for text in texts)
