"""Follow a running experiment with plain lines: for CI, pipes and `--wait`."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import time
from pathlib import Path

from engine.counts import plural
from engine.eta.forecast import forecast
from engine.journals.events import PhaseBegun, Verdict
from engine.live.state import ENDED, ExperimentState, Sentence, all_sentences
from engine.live.watch import Watch
from engine.runs import launch
from engine.runs.hints import for_experiment
from engine.text import clean
from tui import format as fmt
from tui.preparation import preparing
from tui.verbs.common import left_over, say

POLL_SECONDS = 0.5
# A pipe is read later, a terminal now.
LINE_SECONDS = 5.0
BAR = 24
BAD_INPUT = ("bad_data", "usage", "closed")


def follow(folder: Path, quiet: bool = False, since: float = 0.0) -> int:
    """Until it ends: sentences as they happen, and how far it is (a terminal's line is redrawn).

    `since`: of what was before this moment (seconds since 1970) only how much it is. `quiet`: without a word.

    SIGUSR1 is for the supervisor, which stops in time: Slurm sends it to every process of a job's step, and by default
    it would end this one, and the step with it.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if quiet:
        with contextlib.redirect_stdout(io.StringIO()):
            return follow(folder, since=since)
    watch, live = Watch(folder), sys.stdout.isatty()
    told: set[Sentence] = set()
    due = 0.0
    watch.recall()
    before = [sentence for sentence in all_sentences(watch.poll()) if sentence.t < since]
    told.update(before)
    if before:
        say(f"before: {plural(len(before), 'event')}; `steptop open {folder.name}` shows them")
    while True:
        state = watch.poll()
        fresh = [sentence for sentence in all_sentences(state) if sentence not in told]
        for sentence in fresh:
            told.add(sentence)
            if live:
                sys.stdout.write("\r\x1b[K")
            say(f"{fmt.clock_seconds(sentence.t)}  {sentence.text}")
        if state.phase in ENDED and not (state.supervisor_alive and state.ended is None):
            return _end(state)
        if not state.supervisor_alive and state.trainer_alive:
            launch.take_over(folder)
        if time.monotonic() >= due:
            due = time.monotonic() + (1.0 if live else LINE_SECONDS)
            _progress(state, live)
        time.sleep(POLL_SECONDS)


def _progress(state: ExperimentState, live: bool) -> None:
    line = progress_line(state)
    if live:
        sys.stdout.write(f"\r\x1b[K{line}")
        sys.stdout.flush()
    elif line:
        print(line, flush=True)


def progress_line(state: ExperimentState) -> str:
    """One line: where it is, how fast, and when it ends."""
    if state.preparing is not None and state.phase == "preparing":
        return preparing(state)[0]
    run = state.run
    if state.plan.test is not None:
        return test_line(state)
    if run is None or not run.steps_total:
        return ""
    expected = forecast(state)
    done = run.step / run.steps_total
    filled = round(done * BAR)
    where = f"run {(state.current or 0) + 1}/{len(state.runs)} epoch {run.epoch}/{run.epochs}"
    where += f" step {run.step}/{run.steps_total}"
    doing = f" {run.activity} {run.activity_done}/{run.activity_total}" if run.activity and run.activity_total else ""
    loss = f" loss {run.loss:.4f}" if run.loss is not None else ""
    ends = f" run ends {fmt.clock(expected.run.at, state.now)}" if expected.run.at else ""
    every = f" all {fmt.clock(expected.experiment.at, state.now)}" if expected.experiment.at else ""
    others = (state.runs[place] for place in state.under_way if place != state.current)
    beside = "".join(f" | {one.key.name} {one.step / max(1, one.steps_total):.0%}" for one in others)
    return f"{where} [{'#' * filled}{'.' * (BAR - filled)}] {done:4.0%}{doing}{loss}{ends}{every}{beside}"


def test_line(state: ExperimentState) -> str:
    """Which phase a test is at, and how far."""
    begun = state.visits[-1] if state.visits else None
    if not isinstance(begun, PhaseBegun) or state.run is None:
        return ""
    done = sum(line.steps for line in state.run.recent if line.t >= begun.t)
    pace = state.run.recent[-1].seconds / state.run.recent[-1].steps if state.run.recent and done else None
    left = f", {fmt.whole((begun.steps - done) * pace)} to go" if pace and begun.steps > done else ""
    return f"phase {begun.phase + 1} ({clean(begun.name)}) round {begun.round + 1}: step {done}/{begun.steps}{left}"


def _end(state: ExperimentState) -> int:
    if sys.stdout.isatty():
        sys.stdout.write("\r\x1b[K")
    verdict = state.verdict
    if state.phase in ("failed", "lost") and verdict is not None:
        say(f"{state.phase}: {verdict.text}")
        for line in verdict.evidence:
            say(f"    {line}")
        if verdict.advice:
            say(f"  {for_experiment(verdict.advice, Path(state.folder).name)}")
    if left := left_over(state):
        say(f"  {left}")
    for run in state.runs:
        if run.test is not None:
            say(f"{run.key.name}: " + ", ".join(f"{name} {value:.3f}" for name, value in run.test.values.items()))
    return exit_code(state.phase, verdict)


def exit_code(phase: str, verdict: Verdict | None) -> int:
    if phase == "failed" and verdict is not None and verdict.kind in BAD_INPUT:
        return 2
    return {"finished": 0, "stopped": 3}.get(phase, 1)
