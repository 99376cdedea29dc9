"""All runs at a glance: folds down, restarts across, variants in blocks, and what they amount to so far."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import NamedTuple

from engine.config.experiment import dimensions, variants_of
from engine.config.leading import measure
from engine.live.state import ExperimentState, RunState
from engine.runs.ablation import Compared, Result, compare
from tui.format import duration, plural
from tui.glyphs import RUN_SYMBOLS
from tui.messages import View
from tui.plain import clipped
from tui.widgets.line import Line
from tui.widgets.panel import Panel
from tui.words import ENDED, RUN_ROLES

LABEL = 8
# Of a variant's name in the matrix.
WIDEST = 14
# The column of their means.
MEAN = 7


def judged(state: ExperimentState, run: RunState) -> float | None:
    """The leading figure of a run's held-out test."""
    return run.test.values.get(measure(state.plan.experiment).figure) if run.test is not None else None


class Matrix(NamedTuple):
    """Which run stands where: `cells` by the labels of rows and columns; `corner`: what the columns are."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], RunState]
    corner: str = ""


def matrix(state: ExperimentState) -> Matrix:
    """Folds × restarts; with variants these are the rows and folds the columns, so that what is compared stands one
    below the other. Several restarts of a fold stand side by side then, as 0.1."""
    runs = sorted(state.runs, key=lambda run: (run.key.fold, run.key.restart))
    variants = variants_of(run.key for run in state.runs)
    several = len({run.key.restart for run in runs}) > 1

    def place(run: RunState) -> tuple[str, str]:
        key = run.key
        if not key.variant:
            return f"fold {key.fold}", str(key.restart)
        return clipped(key.variant, WIDEST), f"{key.fold}.{key.restart}" if several else str(key.fold)

    cells = {place(run): run for run in runs}
    columns = tuple(dict.fromkeys(column for _, column in cells))
    if any(variants):
        return Matrix(tuple(clipped(name, WIDEST) for name in variants), columns, cells, "fold")
    return Matrix(tuple(dict.fromkeys(row for row, _ in cells)), columns, cells)


def runs_lines(view: View, width: int, height: int) -> list[Line]:
    """The matrix (figures in it where there is room), then target and results."""
    state, found = view.state, matrix(view.state)
    label = max([LABEL, *(len(row) + 1 for row in found.rows)])
    wide = label + 5 * len(found.columns) <= width
    cell = 5 if wide else 3 if label + 3 * len(found.columns) <= width else 2
    cell = max([cell, *(len(column) + 1 for column in found.columns)])
    shown = found.columns[: max(1, (width - label) // cell)]
    summary = summary_lines(state)
    head: Line = [(found.corner.ljust(label), "label"), ("".join(c.rjust(cell) for c in shown), "faint")]
    rows: list[Line] = [
        [(row.ljust(label), "label"), *(_cell(state, found.cells.get((row, column)), cell) for column in shown)]
        for row in found.rows
    ]
    if found.corner and label + cell * len(shown) + MEAN <= width:
        head = [*head, (f"{'mean':>{MEAN}}", "faint")]
        rows = [[*line, _mean(state, found, row)] for line, row in zip(rows, found.rows, strict=True)]
    room = max(1, height - 1 - (len(summary) + 1 if height > len(summary) + 3 else 0))
    if len(rows) > room:
        more = "variants" if found.corner else "folds"
        rows = [*rows[: room - 1], [(f"and {len(rows) - room + 1} more {more}", "label")]]
    if len(shown) < len(found.columns):
        head = [*head, (" …", "faint")]
    lines = [head, *rows]
    if len(lines) + 1 + len(summary) > height:
        return lines
    lines += [[], *summary]
    return [*lines, *_results(state, width, height - len(lines))]


def _mean(state: ExperimentState, found: Matrix, row: str) -> tuple[str, str]:
    """Of a variant's finished runs."""
    runs = [run for (there, _), run in found.cells.items() if there == row and run.phase == "finished"]
    values = [value for run in runs if (value := judged(state, run)) is not None]
    return (f"{fmean(values):>{MEAN}.3f}", "number") if values else (f"{'–':>{MEAN}}", "label")


def _results(state: ExperimentState, width: int, room: int) -> list[Line]:
    """The held-out figures of finished runs, the newest at the bottom, where there is room for a table."""
    finished = [
        (at, run) for at, run in enumerate(state.runs, start=1) if run.phase == "finished" and run.test is not None
    ]
    if room < 4 or not finished:
        return []
    variants = variants_of(run.key for run in state.runs)
    last = max(9, *(len(clipped(name, WIDEST)) + 2 for name in variants)) if any(variants) else 9
    word = "variant" if any(variants) else "restart"
    names = list(dict.fromkeys(name for _, run in finished if run.test is not None for name in run.test.values))
    names = names[: (width - 9 - last) // 9]
    timed = width >= 9 + last + 9 * len(names) + 10
    head: Line = [(f"run  fold{word:>{last}}", "faint"), *((f"{name[:8]:>9}", "faint") for name in names)]
    if timed:
        head.append((f"{'took':>10}", "faint"))
    rows: list[Line] = []
    for at, run in finished[-(room - 2) :]:
        values = run.test.values if run.test is not None else {}
        rows.append(
            [
                (f"{at:>3}", "number"),
                (f"{run.key.fold:>6}{clipped(run.key.variant, WIDEST) or run.key.restart:>{last}}", "label"),
                *((f"{values[name]:>9.3f}" if name in values else f"{'–':>9}", "text") for name in names),
                (duration(run.elapsed or None).rjust(10) if timed else "", "label"),
            ]
        )
    return [[], head, *rows]


def _cell(state: ExperimentState, run: RunState | None, cell: int) -> tuple[str, str]:
    if run is None:
        return " " * cell, "text"
    figure = judged(state, run)
    if run.phase == "finished" and figure is not None and cell >= 5:
        return f"{figure:.2f}".removeprefix("0").rjust(cell), "good"
    if run.phase == "running" and state.plan.slots > 1 and cell >= 5 and run.steps_total:
        return f"{100 * run.step // run.steps_total}%".rjust(cell), RUN_ROLES[run.phase]
    return RUN_SYMBOLS[run.phase].rjust(cell), RUN_ROLES[run.phase]


def summary_lines(state: ExperimentState) -> list[Line]:
    """Mean and standard deviation over finished runs beside the published figure, and what the symbols mean."""
    found = [own for run in state.runs if run.phase == "finished" and (own := judged(state, run)) is not None]
    lines: list[Line] = []
    target = state.plan.experiment.target
    if target is not None:
        spread = f" ± {target.std:.3f}" if target.std else ""
        title = f"target {measure(state.plan.experiment).title} ".ljust(12)
        lines.append([(title, "label"), (f"{target.dice:.3f}{spread}", "text")])
    if found and any(variants := variants_of(run.key for run in state.runs)):
        return [*lines, *_compared(state, variants), _legend(state)]
    so_far: Line = [("so far      ", "label")]
    if found:
        spread = f" ± {stdev(found):.3f}" if len(found) > 1 else ""
        so_far += [(f"{fmean(found):.3f}{spread}", "number"), (f"  {plural(len(found), 'run')}", "label")]
    else:
        so_far += [("–", "label")]
    lines.append(so_far)
    return [*lines, _legend(state)]


def _compared(state: ExperimentState, variants: tuple[str, ...]) -> list[Line]:
    """Mean and deviation of each variant over its folds; then how far it is from the first, fold by fold (95 %)."""
    told = [
        Result(run.key.variant, run.key.fold, run.key.restart, figure)
        for run in state.runs
        if run.phase == "finished" and (figure := judged(state, run)) is not None
    ]
    by_name = {one.variant: one for one in compare(told, variants)}
    label = max(LABEL, *(len(clipped(name, WIDEST)) + 1 for name in variants))
    lines: list[Line] = []
    for name in variants:
        line: Line = [(clipped(name, WIDEST).ljust(label), "label")]
        one = by_name.get(name)
        if one is None or one.mean is None:
            lines.append([*line, ("–", "label")])
            continue
        line.append((f"{one.mean:.3f}" + (f" ± {one.std:.3f}" if one.std is not None else ""), "number"))
        lines.append([*line, (f"  {_apart(one)}", "text")])
    return lines


def _apart(one: Compared) -> str:
    if one.difference is None:
        return plural(one.folds, "fold")
    between = f" ({_short(one.low)}…{_short(one.high)})" if one.low is not None and one.high is not None else ""
    return f"{one.difference:+.3f}{between}"


def _short(value: float) -> str:
    """`-.15`"""
    return f"{value:+.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:+.1f}"


def _legend(state: ExperimentState) -> Line:
    counts = {phase: sum(run.phase == phase for run in state.runs) for phase in RUN_SYMBOLS}
    legend: Line = []
    for phase, number in counts.items():
        if number:
            legend += [(RUN_SYMBOLS[phase], RUN_ROLES[phase]), (f" {number} {phase}  ", "label")]
    return legend


def fitting(view: View) -> int | None:
    """How many runs a limit leaves time for; None without one."""
    allowed = view.allowance
    return None if allowed is None or allowed.fit is None or view.state.phase in ENDED else allowed.fit.runs


class RunsPanel(Panel):
    """Every run of the experiment."""

    TITLE = "Runs"
    NUMBER = 7
    HELP = (
        "Folds down, restarts across; with variants these down and folds across: · waiting, ▶ running, "
        "✔ finished (or its held-out Dice), ■ stopped, ✖ failed, ? lost. Of runs side by side, how far each is.\n"
        "so far: mean and standard deviation of the held-out Dice over finished runs, one figure per run. Of variants: "
        "over folds, and the mean difference to the first one, fold by fold, with its 95 % interval.\n"
        "fit, in the title: how many will be done before the limit (key u) ends it."
    )

    def depends(self, view: View) -> tuple[object, ...]:
        beside = view.state.plan.slots > 1
        done = (100 * run.step // run.steps_total if beside and run.steps_total else 0 for run in view.state.runs)
        return (*(part for run in view.state.runs for part in (run.phase, run.test)), *done, fitting(view))

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        runs = tuple(run.key for run in view.state.runs)
        fit = fitting(view)
        fits = f" · {fit} fit" if fit is not None else ""
        self.entitle(f"{dimensions(runs)}{fits}", "$label")
        return runs_lines(view, width, height)
