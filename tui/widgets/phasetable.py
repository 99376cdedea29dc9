"""All phases below one another: what changed, what was expected, what was measured, and the ratio on one scale."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.config.knob import shown
from engine.phase.phases import PhaseResult
from tui.comparison import Comparison, change_words, expected_of
from tui.format import DASH, duration, plural, significant, size
from tui.plain import fit
from tui.widgets.comparing import ComparisonPanel
from tui.widgets.interval import Scale, empty, interval, labels, scale_of
from tui.widgets.line import Line
from tui.widgets.phaselist import role_of, verdict_word

MARK, VERDICT, RATIO = 2, 14, 7
NEXT = 3
# So much of a graph stays beside a long name.
LEAST_GRAPH = 16


class Columns(NamedTuple):
    """Widths; 0 for a column that is left out."""

    name: int
    changed: int
    expected: int
    pace: int
    graph: int
    step: int = 0
    gpu: int = 0
    ram: int = 0
    vram: int = 0


def columns(found: tuple[PhaseResult, ...], width: int) -> Columns:
    """What fits: the verdict and the interval always, the rest where there is room and something to say."""
    room = width - MARK - RATIO - VERDICT - 2
    longest = max((len(f"{one.number + 1}. {one.name}") + 1 for one in found), default=0)
    if width < 100:
        name = min(max(20, longest), max(20, room - 9 - LEAST_GRAPH))
        return Columns(name, 0, 0, 9, max(0, room - name - 9))
    if width < 150:
        name, expected, pace, more = min(34, max(22, longest)), 11, 13, (0, 0, 0, 0)
    else:
        name, expected, pace = min(44, max(28, longest)), 14, 14
        used = [one.use for one in found]
        more = (
            10,
            6 if any(use.gpu_util is not None for use in used) else 0,
            10 if any(use.ram_peak for use in used) else 0,
            10 if any(use.vram_reserved for use in used) else 0,
        )
    rest = room - name - expected - pace - sum(more)
    changed = min(56, max(12, (rest + 2) // 2))
    return Columns(name, changed, expected, pace, max(0, rest - changed), *more)


def scale_for(found: tuple[PhaseResult, ...]) -> Scale:
    """One for all of them."""
    return scale_of([bound for one in found if one.ratio is not None for bound in (one.ratio.low, one.ratio.high)])


def table_lines(comparison: Comparison, width: int, height: int) -> list[Line]:
    """The head, a line for each phase, then what could come next."""
    found, wide = comparison.found, columns(comparison.found, width)
    scale = scale_for(found)
    coming = next_lines(comparison)
    lines = [_head(wide, scale, comparison)]
    rows = [_row(one, comparison, wide, scale) for one in found]
    room = max(1, height - 1 - (len(coming) + 1 if coming else 0))
    if len(rows) > room:
        first = min(max(0, comparison.selected - room // 2), len(rows) - room)
        rows = rows[first : first + room]
    lines += rows
    return [*lines, [], *coming] if coming else lines


def height_of(comparison: Comparison) -> int:
    """Lines that all of it takes."""
    coming = next_lines(comparison)
    return 1 + len(comparison.found) + (len(coming) + 1 if coming else 0)


def _head(wide: Columns, scale: Scale, comparison: Comparison) -> Line:
    names = ["profile" if comparison.living else "phase"]
    line: Line = [(" " * MARK, "text"), (f"{names[0]:<{wide.name}}", "faint")]
    if wide.changed:
        line.append((f"{'changed':<{wide.changed}}", "faint"))
    if wide.expected:
        line.append((f"{'expected':>{wide.expected}}", "faint"))
    line.append((f"{'samples/s':>{wide.pace}}", "faint"))
    for text, room in (("s/step", wide.step), ("GPU", wide.gpu), ("RAM", wide.ram), ("VRAM", wide.vram)):
        line.append((f"{text:>{room}}" if room else "", "faint"))
    line.append((f"{'speed':>{RATIO}} ", "faint"))
    line += labels(scale, wide.graph) if wide.graph > 8 else [(" " * wide.graph, "text")]
    return [*line, (" verdict", "faint")]


def _row(one: PhaseResult, comparison: Comparison, wide: Columns, scale: Scale) -> Line:
    here = comparison.one is one
    running, won = one.number == comparison.now, one.number == comparison.winner
    role = role_of(one.verdict)
    found, use = one.measured, one.use
    mark = "▸" if here else " "
    sign = ("▶", "accent") if running else ("✔", "good") if won else (" ", "text")
    line: Line = [
        (mark, "key"),
        sign,
        (fit(f"{one.number + 1}. {one.name}", wide.name - 1) + " ", "number" if here else "text"),
    ]
    if wide.changed:
        line.append((fit(changed_words(one), wide.changed - 1) + " ", "label"))
    if wide.expected:
        line.append((_expected(one).rjust(wide.expected), "label"))
    line.append((pace_words(one, wide.pace).rjust(wide.pace), "number" if found is not None else "faint"))
    for text, room in (
        (duration(found.step_seconds) if found is not None else DASH, wide.step),
        (f"{use.gpu_util:.0f} %" if use.gpu_util is not None else DASH, wide.gpu),
        (size(use.ram_peak) if use.ram_peak else DASH, wide.ram),
        (size(use.vram_reserved) if use.vram_reserved else DASH, wide.vram),
    ):
        line.append((text.rjust(room) if room else "", "text"))
    if one.ratio is not None:
        line.append((f"×{one.ratio.value:.2f}".rjust(RATIO) + " ", role))
        line += interval(scale, wide.graph, one.ratio.low, one.ratio.value, one.ratio.high, role)
    else:
        line.append(((DASH if comparison.first is not one else "").rjust(RATIO) + " ", "faint"))
        line += empty(scale, wide.graph) if one.mode == "train" else [(" " * wide.graph, "text")]
    test = comparison.view.state.plan.test
    tuning = test is not None and test.kind == "tune" and one.knobs == test.phases[0].knobs
    measure = "in use" if tuning else "the measure"
    word = measure if comparison.first is one and one.verdict == "ok" else verdict_word(one.verdict)
    if running and not comparison.living:
        word, role = "measuring", "accent"
    return [*line, (f" {word}", role)]


def changed_words(one: PhaseResult) -> str:
    """`num_workers=4`; what a bench left out; a dash."""
    said = ", ".join(f"{name}={shown(value)}" for name, value in one.changed.items())
    return said or {"resident": "no loading", "load": "no computing"}.get(one.mode, DASH)


def _expected(one: PhaseResult) -> str:
    if one.low is None or one.high is None:
        return DASH
    return f"{significant(one.low, 2)}–{significant(one.high, 2)}"


def pace_words(one: PhaseResult, width: int) -> str:
    """`2.29 ±9 %` where there is room for the interval and it means something."""
    found = one.measured
    if found is None:
        return DASH
    half = (found.samples_high / found.samples_low) ** 0.5 - 1 if found.samples_low > 0 else float("inf")
    said = significant(found.samples_per_second)
    with_range = f"{said} ±{half:.0%}".replace("%", " %") if half < 1 else said
    return with_range if len(with_range) < width else said


# ---------------------------------------------------------------- what comes next


def next_lines(comparison: Comparison) -> list[Line]:
    """The profile that n takes up, with what is expected of it; then those that it cannot take."""
    if comparison.taker != "training":
        return []
    coming = comparison.next
    lines: list[Line] = []
    if coming is not None:
        pace = expected_of(comparison.view, coming)
        lines.append(
            [
                (" n", "key"),
                (" next  ", "label"),
                (coming.name, "number"),
                (f"  {change_words(coming)}", "text"),
                (
                    f"  {significant(pace.low)}–{significant(pace.high)} samples/s expected"
                    if pace.low is not None and pace.high is not None
                    else "",
                    "label",
                ),
            ]
        )
    else:
        lines.append([("   next  ", "label"), (f"nothing of \"{comparison.plan_name}\" is left to try", "label")])
    barred = [one for one in comparison.candidates if one.fixed or one.problem]
    lines += [[("         ", "text"), (one.name, "text"), (f"  {change_words(one)}", "faint")] for one in barred]
    if len(lines) > NEXT:
        lines = [
            *lines[: NEXT - 1],
            [("         ", "text"), (f"and {plural(len(lines) - NEXT + 1, 'other')}", "faint")],
        ]
    return lines


class PhaseTable(ComparisonPanel):
    """Up and down choose the phase that the panels below tell about."""

    TITLE = "Phases"
    NUMBER = 1
    HELP = (
        "A line for each phase: what was expected before it began, what was measured, and how many times as fast as "
        "the first it is, with the 95 % interval on one scale for all. An interval that holds ×1 is no difference that "
        "could be told from chance."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "phase before", show=False),
        Binding("down,j", "move(1)", "next phase", show=False),
    ]

    class Moved(Message):
        """Another phase is looked at."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def show(self, comparison: Comparison, width: int, height: int) -> list[Line]:
        return table_lines(comparison, width, height)

    def action_move(self, by: int) -> None:
        self.post_message(self.Moved(by))

    def on_click(self, event: events.Click) -> None:
        if self.comparison is not None:
            self.post_message(self.Moved(event.y - self.gutter.top - 1 - self.comparison.selected))

    def on_mouse_scroll_down(self) -> None:
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-1)
