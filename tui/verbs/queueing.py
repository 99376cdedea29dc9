"""queue: what waits for its turn, and another order for it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec

from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, write_json
from engine.runs import control
from engine.runs.hints import for_experiment
from engine.runs.placing import settled
from engine.runs.requeue import At, Wish, requeued, words
from tui.verbs.common import find, is_running, run_at, say

ANSWER_SECONDS = 5.0


def queue(options: argparse.Namespace) -> int:
    """Show the runs; with options, put what waits into another order and wait for the supervisor's answer."""
    folder = find(options.logs, options.experiment)
    wish = Wish(
        first=_runs(options.first, "--first"), last=_runs(options.last, "--last"), skip=_runs(options.skip, "--skip"),
        add=_runs(options.add, "--add"),
    )
    if not wish.any:
        for line in lines(Watch(folder).poll()):
            say(line)
        return 0
    if options.readonly:
        raise UsageError("--readonly: `queue` with another order changes something; leave one of them out")
    said: str | None = None
    while said is None:
        said = _ordered(folder, wish)
    say(f"{folder.name}: {said}")
    return 0


def _ordered(folder: Path, wish: Wish) -> str | None:
    """What has become of the wish; None if the supervisor ended before it read it. Raises UsageError."""
    settled(folder)  # a supervisor that has written its last line reads no request any more
    state, paths = Watch(folder).poll(), ExperimentPaths(folder)
    if state.plan.test is not None:
        raise UsageError(f"{folder.name} is a test of profiles: it has no runs that wait")
    # What has failed may wait for another try or have had its last: its supervisor knows. A resume tries all of them.
    still = [run.key.at for run in state.runs if not (tried(run.phase) or run.given_up)]
    waiting = still if state.supervisor_alive else None
    runs = requeued(state.plan, {run.key.at for run in state.runs if begun(run.phase)}, wish, waiting).runs
    if not state.supervisor_alive:
        write_json(paths.plan, msgspec.structs.replace(state.plan, runs=runs))
        phase = Watch(folder).quick().phase
        if phase == "finished":
            return "changed; it is finished"
        if state.phase == "finished":
            more = ", ".join(words(key.at) for key in runs if key not in state.plan.runs)
            return f"added: {more}; `steptop resume {folder.name}` begins {'it' if len(wish.add) == 1 else 'them'}"
        return f"changed; it is {phase}, and `steptop resume {folder.name}` goes on so"
    name = control.request(paths, "queue", by="the command line", queue=wish)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        if (answer := control.answer_to(paths, name)) is not None:
            if not answer.accepted:
                raise UsageError(for_experiment(answer.text, folder.name))
            return answer.text
        if not is_running(folder) and control.withdraw(paths, name):
            return None
        time.sleep(0.05)
    return "asked for, not acknowledged yet; it holds as soon as its supervisor reads it"


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
        f"{place:>3}  {run.key.name:<{width}}  {'not started any more' if run.given_up else run.phase}"
        + (f"  {run.step / run.steps_total:.0%}" if run.phase == "running" and run.steps_total else "")
        for place, run in enumerate(state.runs, start=1)
    ]


def _runs(texts: list[str], option: str) -> tuple[At, ...]:
    return tuple(run_at(text, option) for text in texts)
