"""The runs that go on side by side, a line each: how far, loss, pace, end, device, and which one the panels show."""

from __future__ import annotations

from math import ceil

from textual import events

from engine.beside import Beside
from engine.live.state import ExperimentState
from tui.format import DASH, clock, count, duration, significant, whole
from tui.glyphs import DOT
from tui.messages import RunPicked, View
from tui.plain import clipped
from tui.widgets.line import Line, bar, width_of
from tui.widgets.panel import Lines
from tui.widgets.progress import fraction_of_run
from tui.widgets.small import HEIGHT, WIDTH
from tui.words import activity_word, lasting_activity

GAP = 3
BAR = 12
NAME = 26
# Narrower than this a run says nothing but its number and how far it is.
NARROWEST = 26
# Lines of a terminal from which the run that is shown has a line, too: below, header and Progress name it.
ALL = 30
SHOWN = "▸"
# What is said of a run, the most that fits: the first of these that every line has room for.
FORMS: tuple[tuple[str, ...], ...] = (
    ("name", "bar", "percent", "steps", "loss", "pace", "ends", "left", "device"),
    ("name", "percent", "steps", "loss", "pace", "ends", "left", "device"),
    ("name", "percent", "steps", "loss", "pace", "ends", "device"),
    ("name", "steps", "loss", "pace", "ends", "device"),
    ("brief", "percent", "steps", "loss", "pace", "ends", "device"),
    ("brief", "steps", "loss", "pace", "ends", "device"),
    ("brief", "percent", "loss", "pace", "ends", "device"),
    ("brief", "percent", "loss", "pace", "ends"),
    ("brief", "percent", "pace", "ends"),
    ("percent", "pace", "ends"),
    ("percent", "pace", "at"),
    ("percent", "ends"),
    ("percent", "at"),
    ("percent",),
    (),
)
TO_THE_RIGHT = ("percent", "steps", "pace", "left")


def parts_of(one: Beside, state: ExperimentState, marked: bool) -> dict[str, Line]:
    """What can be said of a run, by the name of its column. `marked`: the one that is shown is among them."""
    run, key = one.run, one.run.key
    shown, silent = one.place == state.current, one.quiet_seconds > 0
    place = f"{key.fold}.{key.restart}"
    role = "number" if shown else "text"
    going = run.step > 0 or run.activity != "startup"
    if silent:
        pace: Line = [(f"nothing for {whole(one.quiet_seconds)}", "alarm")]
    elif doing := lasting_activity(state, run):
        pace = [(activity_word(state, doing), "text")]
    else:
        pace = [(duration(one.step_seconds), role), ("/step", "label")]
    return {
        "mark": [
            ((SHOWN if shown else " ") + " " if marked else "", "accent"),
            (DOT, "alarm" if silent else "good" if going else "label"),
            (" run ", "label"),
            (str(one.place + 1), "number"),
        ],
        "name": [(clipped(key.name, NAME), role)],
        "brief": [(clipped(f"{key.variant} {place}" if key.variant else f"fold {place}", 16), role)],
        "bar": bar(fraction_of_run(run), BAR),
        "percent": [(f"{100 * run.step // run.steps_total} %" if run.steps_total else DASH, role)],
        "steps": [(count(run.step), "text"), (f"/{count(run.steps_total)}" if run.steps_total else "", "label")],
        "loss": [("loss ", "label"), (significant(run.loss) if run.loss is not None else DASH, role)],
        "pace": pace,
        "ends": [("ends ", "label"), (clock(one.ends.at, state.now), "number")],
        "at": [(clock(one.ends.at, state.now), "number")],
        "left": [("in ", "label"), (whole(one.ends.seconds), "text")],
        "device": [(clipped(one.device or DASH, 12), "label")],
    }


def listed(view: View, rows: int) -> tuple[Beside, ...]:
    """Those that have a line in a terminal of so many rows."""
    return tuple(one for one in view.beside if rows >= ALL or one.place != view.state.current)


def room_for(rows: int) -> int:
    """How many lines of such a terminal they may take: the panels below keep theirs."""
    return 1 if rows < 22 else 2 if rows < 28 else 4 if rows < 38 else 8


def across(runs: int, width: int, height: int) -> int:
    """How many stand in one line."""
    return max(1, min(ceil(runs / height) if height else runs, width // NARROWEST))


def side_lines(view: View, runs: tuple[Beside, ...], width: int, height: int) -> list[Line]:
    """The runs in rows; where there are too many, how many more there are."""
    if not runs or height < 1:
        return []
    columns = across(len(runs), width, height)
    cell = (width - GAP * (columns - 1)) // columns
    fit = columns * height
    told = runs if len(runs) <= fit else runs[: fit - 1]
    cells = cells_of(view, told, cell)
    if len(told) < len(runs):
        cells.append([(f"and {len(runs) - len(told)} more: ] goes on", "label")])
    lines: list[Line] = []
    for first in range(0, len(cells), columns):
        line: Line = []
        for place, part in enumerate(cells[first : first + columns]):
            gap = cell + GAP - width_of(cells[first + place - 1]) if place else 0
            line += [(" " * gap, "text"), *part]
        lines.append(line)
    return lines


def cells_of(view: View, runs: tuple[Beside, ...], width: int) -> list[Line]:
    """One line for each, in columns that stand below one another; as much as fits into `width`."""
    marked = any(one.place == view.state.current for one in runs)
    parts = [parts_of(one, view.state, marked) for one in runs]
    wide = {name: max(width_of(part[name]) for part in parts) for name in parts[0]} if parts else {}
    form = next(
        (form for form in FORMS if wide.get("mark", 0) + sum(2 + wide[name] for name in form) <= width), FORMS[-1]
    )
    return [_joined(part, form, wide) for part in parts]


def _joined(parts: dict[str, Line], form: tuple[str, ...], wide: dict[str, int]) -> Line:
    line = _padded(parts["mark"], wide["mark"], False)
    for name in form:
        line = [*line, ("  ", "text"), *_padded(parts[name], wide[name], name in TO_THE_RIGHT)]
    return line


def _padded(part: Line, width: int, right: bool) -> Line:
    space = [(" " * (width - width_of(part)), "text")]
    return [*space, *part] if right else [*part, *space]


class SideBySide(Lines):
    """As high as there are runs to tell of; not there while only one goes on. A click shows the run."""

    def __init__(self) -> None:
        super().__init__()
        self._height = 0
        self.display = False

    def _runs(self) -> tuple[Beside, ...]:
        return listed(self.view, self.app.size.height) if self.view is not None else ()

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        return side_lines(view, self._runs(), width, height)

    def watch_view(self, view: View | None) -> None:  # noqa: ARG002  the inherited signature
        self.fit()

    def fit(self) -> None:
        """As high as the view and the terminal want it."""
        size, runs = self.app.size, self._runs()
        room = room_for(size.height)
        wanted = min(room, ceil(len(runs) / across(len(runs), size.width - 2, room))) if runs else 0
        if wanted and self._height != wanted:
            self._height = self.styles.height = wanted
        self.display = bool(wanted) and size.width >= WIDTH and size.height >= HEIGHT
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        runs, (width, height) = self._runs(), self.content_size
        at = event.get_content_offset(self)
        columns = across(len(runs), width, height)
        cell = (width - GAP * (columns - 1)) // columns
        place = at.y * columns + min(columns - 1, at.x // (cell + GAP)) if at is not None else len(runs)
        if place < len(runs):
            self.post_message(RunPicked(runs[place].run.key.at))
