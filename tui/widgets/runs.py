"""All runs at a glance: folds down, restarts across, variants in blocks, and what they amount to so far."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from textual import events

from engine.config.leading import measure
from engine.config.run_keys import dimensions, variants_of
from engine.live.state import ExperimentState, RunState
from engine.runs.ablation import Compared, compare
from engine.runs.so_far import SoFar, blank, judged, models_words, results, so_far
from tui.format import duration, figure, plural
from tui.glyphs import RUN_SYMBOLS
from tui.messages import RunPicked, View
from tui.plain import clipped
from tui.widgets.line import Line
from tui.widgets.panel import Panel
from tui.words import ENDED, RUN_ROLES

LABEL = 8
# Of a variant's name in the matrix.
WIDEST = 14
# The column of their means.
MEAN = 7
# Of what stands before the figures below the matrix, and the width from which they are said in full.
TITLE, ROOMY = 12, 56


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


class Grid(NamedTuple):
    """Where the matrix stands in a panel: the width of its labels, of a cell, and the columns that fit."""

    label: int
    cell: int
    columns: tuple[str, ...]


def grid(found: Matrix, width: int) -> Grid:
    """Cells with figures where there is room for them, else with symbols."""
    label = max([LABEL, *(len(row) + 1 for row in found.rows)])
    wide = label + 5 * len(found.columns) <= width
    cell = 5 if wide else 3 if label + 3 * len(found.columns) <= width else 2
    cell = max([cell, *(len(column) + 1 for column in found.columns)])
    return Grid(label, cell, found.columns[: max(1, (width - label) // cell)])


def runs_lines(view: View, width: int, height: int) -> list[Line]:
    """The matrix (figures in it where there is room), then target and results."""
    state, found = view.state, matrix(view.state)
    label, cell, shown = grid(found, width)
    least = len(summary_lines(state, width, 0))
    head: Line = [(found.corner.ljust(label), "label"), ("".join(c.rjust(cell) for c in shown), "faint")]
    rows: list[Line] = [
        [(row.ljust(label), "label"), *(_cell(state, found.cells.get((row, column)), cell) for column in shown)]
        for row in found.rows
    ]
    if found.corner and label + cell * len(shown) + MEAN <= width:
        head = [*head, (f"{'mean':>{MEAN}}", "faint")]
        rows = [[*line, _mean(state, found, row)] for line, row in zip(rows, found.rows, strict=True)]
    room = max(1, height - 1 - (least + 1 if height > least + 3 else 0))
    if len(rows) > room:
        more = "variants" if found.corner else "folds"
        rows = [*rows[: room - 1], [(f"and {len(rows) - room + 1} more {more}", "label")]]
    if len(shown) < len(found.columns):
        head = [*head, (" …", "faint")]
    lines = [head, *rows]
    if len(lines) + 1 + least > height:
        return lines
    lines += [[], *summary_lines(state, width, height - len(lines) - 1)]
    return [*lines, *_results(state, width, height - len(lines))]


def run_under(view: View, width: int, height: int, x: int, y: int) -> RunState | None:
    """The run whose cell is at column `x` of line `y` of the matrix."""
    found = matrix(view.state)
    label, cell, shown = grid(found, width)
    row, column = y - 1, (x - label) // cell
    if not (0 <= row < min(len(found.rows), height - 1) and 0 <= column < len(shown)):
        return None
    return found.cells.get((found.rows[row], shown[column]))


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
        return f"{100 * run.step // run.steps_total}%".rjust(cell), _role(state, run)
    return RUN_SYMBOLS[run.phase].rjust(cell), _role(state, run)


def _role(state: ExperimentState, run: RunState) -> str:
    """Of several under way the one that the panels show stands out."""
    shown = run is state.run and len(state.under_way) > 1
    return "accent" if shown else RUN_ROLES[run.phase]


def summary_lines(state: ExperimentState, width: int, room: int) -> list[Line]:
    """What finished runs amount to beside the published figure, and what the symbols mean; given more `room` than that
    also what one more would change, and how many models there are to use."""
    found, lines = so_far(state), list[Line]()
    target = state.plan.experiment.target
    if target is not None:
        spread = f" ± {target.std:.3f}" if target.std else ""
        title = f"target {measure(state.plan.experiment).title} ".ljust(TITLE)
        lines.append([(title, "label"), (f"{target.dice:.3f}{spread}", "text")])
    if found[0].variant and any(one.count for one in found):
        lines += _compared(state, found)
    else:
        (one, *_) = found
        told = figure(one.mean) + (f" ± {figure(one.std)}" if one.error is not None else "")
        count = f"  {plural(one.count, 'run')}" if one.count else ""
        lines.append([("so far".ljust(TITLE), "label"), (told, "number" if one.count else "label"), (count, "label")])
    more = [line for line in (_one_more(found, width), _models(state)) if line]
    return [*lines, *more[: max(0, room - len(lines) - 1)], _legend(state)]


def _one_more(found: Sequence[SoFar], width: int) -> Line:
    """By how much one more would move the mean, 9 times in 10; of variants the least and the most."""
    moves = sorted(one.one_more for one in found if one.one_more is not None)
    per = found[0].per
    if not moves:
        missing = next((one.missing for one in found if one.count), "")
        alone = missing.startswith(f"one {per} ")
        return [(f"a second {per} shows how much {per}s differ" if alone else missing, "label")] if missing else []
    if per == "fold":
        spread = f"±{figure(moves[0])} to ±{figure(moves[-1])}" if len(moves) > 1 else f"±{figure(moves[0])}"
        words = " moves them by " if width >= ROOMY else ": "
        return [(f"one more fold{words}", "label"), (spread, "text"), (" (90 %)", "label")]
    error = f", standard error {figure(found[0].error)}" if width >= ROOMY else ""
    return [
        ("one more".ljust(TITLE), "label"),
        ("moves it by ", "label"),
        (f"±{figure(moves[0])}", "text"),
        (f" (90 %){error}", "label"),
    ]


def _models(state: ExperimentState) -> Line:
    usable = state.runs_finished - len(blank(state))
    return [(models_words(state), "good" if usable else "warn" if state.runs_finished else "label")]


def _compared(state: ExperimentState, found: Sequence[SoFar]) -> list[Line]:
    """Mean and deviation of each variant over its folds; then how far it is from the first, fold by fold (95 %)."""
    by_name = {one.variant: one for one in compare(results(state), [one.variant for one in found])}
    label = max(LABEL, *(len(clipped(one.variant, WIDEST)) + 1 for one in found))
    lines: list[Line] = []
    for name in (one.variant for one in found):
        line: Line = [(clipped(name, WIDEST).ljust(label), "label")]
        one = by_name.get(name)
        if one is None or one.mean is None:
            lines.append([*line, ("–", "label")])
            continue
        line.append((figure(one.mean) + (f" ± {figure(one.std)}" if one.std is not None else ""), "number"))
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
        "✔ finished (or its held-out Dice), ■ stopped, ✖ failed, ? lost. Of runs side by side, how far each is; a "
        "click on one, or the keys ] and [, show it in the panels.\n"
        "so far: mean and standard deviation of the held-out Dice over finished runs, one figure per run. Of variants: "
        "over folds, and the mean difference to the first one, fold by fold, with its 95 % interval.\n"
        "one more: by how much another run would move that mean, 9 times in 10, if it is drawn as those before it were "
        "(Student's t). Every finished run is one model that can be used.\n"
        "Another order, in a shell: steptop queue NAME --first FOLD,RESTART (next), --last, --skip (leave out), --add "
        "(one more); steptop queue NAME shows it.\n"
        "fit, in the title: how many will be done before the limit (key u) ends it."
    )

    def depends(self, view: View) -> tuple[object, ...]:
        beside = view.state.plan.slots > 1
        done = (100 * run.step // run.steps_total if beside and run.steps_total else 0 for run in view.state.runs)
        parts = (part for run in view.state.runs for part in (run.phase, run.test))
        return (*parts, *done, fitting(view), view.state.current)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        runs = tuple(run.key for run in view.state.runs)
        fit = fitting(view)
        fits = f" · {fit} fit" if fit is not None else ""
        self.entitle(f"{dimensions(runs)}{fits}", "$label")
        return runs_lines(view, width, height)

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        run = run_under(self.view, *self.content_size, at.x, at.y) if self.view is not None and at is not None else None
        if run is not None and run.phase == "running":
            self.post_message(RunPicked(run.key.at))
