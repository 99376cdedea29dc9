"""Lines of `steptop status` about several runs: those beside the one shown, and what finished ones amount to."""

from __future__ import annotations

from pathlib import Path

from engine.config.leading import measure
from engine.counts import plural, some
from engine.live.state import ENDED, ExperimentState
from engine.runs.so_far import models_words
from engine.status_contract import RunStatus, SoFarStatus, Status
from tui import format as fmt


def beside_lines(seen: Status, now: float) -> list[str]:
    """A line for every run that goes on beside the one shown."""
    return [beside_line(run, now) for run in seen.beside]


def beside_line(run: RunStatus, now: float) -> str:
    name = f"{run.variant} fold {run.fold} restart {run.restart}".lstrip()
    done = f"  {100 * run.steps_done // run.steps_total} %" if run.steps_total else ""
    parts = [
        f"  beside it: run {run.index}/{run.total} ({name})",
        f"step {run.steps_done}/{run.steps_total}{done}" if run.steps_total else "",
        run.activity,
        f"loss {fmt.loss(run.loss)}" if run.loss is not None else "",
        f"{fmt.duration(run.step_seconds)}/step" if run.step_seconds else "",
        f"ends {fmt.clock(run.ends.at, now)}" if run.ends is not None and run.ends.at else "",
        run.device,
    ]
    return "  ".join(part for part in parts if part)


def so_far_lines(seen: Status, state: ExperimentState) -> list[str]:
    """Mean and deviation over finished runs, how well that is known, and what one more would change."""
    if state.plan.test is not None:
        return []
    lines = [f"  {models_words(state)}"]
    if any(one.count for one in seen.so_far):
        title = measure(state.plan.experiment).title
        lines += [f"  {title} so far: {so_far_words(one)}" for one in seen.so_far]
    return lines


def not_started_lines(state: ExperimentState) -> list[str]:
    """The runs that are not begun any more, as others of their variant failed, and how one is begun after all."""
    names = [run.key.name for run in state.runs if run.given_up]
    if not names:
        return []
    fold, restart, variant = next(run.key.at for run in state.runs if run.given_up)
    queue = f"steptop queue {Path(state.folder).name} --first {variant},{fold},{restart}"
    how = f"`{queue}` puts one back" if state.phase not in ENDED else "a resume begins them again"
    return [f"  not started any more, as others of the variant failed: {some(names)}; {how}"]


def so_far_words(one: SoFarStatus) -> str:
    name = f"{one.variant} " if one.variant else ""
    if one.mean is None:
        return f"{name}–"
    over = f"over {plural(one.count, one.per)}"
    if one.std is None or one.standard_error is None or one.one_more is None:
        return f"{name}{fmt.figure(one.mean)} {over}; {one.missing}"
    known = f"{fmt.figure(one.mean)} ± {fmt.figure(one.std)} {over} (standard error {fmt.figure(one.standard_error)})"
    moves = f"±{fmt.figure(one.one_more)} at most, 9 times in 10"
    return f"{name}{known}; one more {one.per} would move the mean by {moves}"
