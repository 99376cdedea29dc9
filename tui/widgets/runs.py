"""All runs at a glance: folds down, restarts across, and what they amount to so far."""

from __future__ import annotations

from statistics import fmean, stdev

from engine.live.state import ExperimentState, RunState
from tui.format import duration, plural
from tui.glyphs import RUN_SYMBOLS
from tui.messages import View
from tui.widgets.line import Line
from tui.widgets.panel import Panel
from tui.words import ENDED, RUN_ROLES

LABEL = 8


def dice_of(run: RunState) -> float | None:
    return run.test.values.get("dice") if run.test is not None else None


def runs_lines(view: View, width: int, height: int) -> list[Line]:
    """The matrix (figures in it where there is room), then target and results."""
    state = view.state
    folds = sorted({run.key.fold for run in state.runs})
    restarts = sorted({run.key.restart for run in state.runs})
    by_key = {(run.key.fold, run.key.restart): run for run in state.runs}
    wide = LABEL + 5 * len(restarts) <= width
    cell = 5 if wide else 3 if LABEL + 3 * len(restarts) <= width else 2
    shown = restarts[: max(1, (width - LABEL) // cell)]
    summary = summary_lines(state)
    head: Line = [(" " * LABEL, "label"), ("".join(str(r).rjust(cell) for r in shown), "faint")]
    rows: list[Line] = [
        [(f"fold {fold}".ljust(LABEL), "label"), *(_cell(by_key.get((fold, r)), cell) for r in shown)] for fold in folds
    ]
    room = max(1, height - 1 - (len(summary) + 1 if height > len(summary) + 3 else 0))
    if len(rows) > room:
        rows = [*rows[: room - 1], [(f"and {len(rows) - room + 1} more folds", "label")]]
    if len(shown) < len(restarts):
        head = [*head, (" …", "faint")]
    lines = [head, *rows]
    if len(lines) + 1 + len(summary) > height:
        return lines
    lines += [[], *summary]
    return [*lines, *_results(state, width, height - len(lines))]


def _results(state: ExperimentState, width: int, room: int) -> list[Line]:
    """The held-out figures of finished runs, the newest at the bottom, where there is room for a table."""
    finished = [
        (at, run) for at, run in enumerate(state.runs, start=1) if run.phase == "finished" and run.test is not None
    ]
    if room < 4 or not finished:
        return []
    names = list(dict.fromkeys(name for _, run in finished if run.test is not None for name in run.test.values))
    names = names[: (width - 18) // 9]
    timed = width >= 18 + 9 * len(names) + 10
    head: Line = [("run  fold  restart", "faint"), *((f"{name[:8]:>9}", "faint") for name in names)]
    if timed:
        head.append((f"{'took':>10}", "faint"))
    rows: list[Line] = []
    for at, run in finished[-(room - 2) :]:
        values = run.test.values if run.test is not None else {}
        rows.append(
            [
                (f"{at:>3}", "number"),
                (f"{run.key.fold:>6}{run.key.restart:>9}", "label"),
                *((f"{values[name]:>9.3f}" if name in values else f"{'–':>9}", "text") for name in names),
                (duration(run.elapsed or None).rjust(10) if timed else "", "label"),
            ]
        )
    return [[], head, *rows]


def _cell(run: RunState | None, cell: int) -> tuple[str, str]:
    if run is None:
        return " " * cell, "text"
    dice = dice_of(run)
    if run.phase == "finished" and dice is not None and cell >= 5:
        return f"{dice:.2f}".removeprefix("0").rjust(cell), "good"
    return RUN_SYMBOLS[run.phase].rjust(cell), RUN_ROLES[run.phase]


def summary_lines(state: ExperimentState) -> list[Line]:
    """Mean and standard deviation over finished runs beside the published figure, and what the symbols mean."""
    found = [dice for run in state.runs if run.phase == "finished" and (dice := dice_of(run)) is not None]
    lines: list[Line] = []
    target = state.plan.experiment.target
    if target is not None:
        spread = f" ± {target.std:.3f}" if target.std else ""
        lines.append([("target Dice ", "label"), (f"{target.dice:.3f}{spread}", "text")])
    so_far: Line = [("so far      ", "label")]
    if found:
        spread = f" ± {stdev(found):.3f}" if len(found) > 1 else ""
        so_far += [(f"{fmean(found):.3f}{spread}", "number"), (f"  {plural(len(found), 'run')}", "label")]
    else:
        so_far += [("–", "label")]
    lines.append(so_far)
    counts = {phase: sum(run.phase == phase for run in state.runs) for phase in RUN_SYMBOLS}
    legend: Line = []
    for phase, number in counts.items():
        if number:
            legend += [(RUN_SYMBOLS[phase], RUN_ROLES[phase]), (f" {number} {phase}  ", "label")]
    return [*lines, legend]


def fitting(view: View) -> int | None:
    """How many runs a limit leaves time for; None without one."""
    allowed = view.allowance
    return None if allowed is None or allowed.fit is None or view.state.phase in ENDED else allowed.fit.runs


class RunsPanel(Panel):
    """Every run of the experiment."""

    TITLE = "Runs"
    NUMBER = 7
    HELP = (
        "Folds down, restarts across: · waiting, ▶ running, ✔ finished (or its held-out Dice), ■ stopped, ✖ failed, "
        "? lost.\n"
        "so far: mean and standard deviation of the held-out Dice over finished runs, one figure per run.\n"
        "fit, in the title: how many will be done before the limit (key u) ends it."
    )

    def depends(self, view: View) -> tuple[object, ...]:
        return (*(part for run in view.state.runs for part in (run.phase, run.test)), fitting(view))

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        runs = view.state.runs
        folds, restarts = len({run.key.fold for run in runs}), len({run.key.restart for run in runs})
        fit = fitting(view)
        fits = f" · {fit} fit" if fit is not None else ""
        self.entitle(f"{plural(folds, 'fold')} × {plural(restarts, 'restart')}{fits}", "$label")
        return runs_lines(view, width, height)
