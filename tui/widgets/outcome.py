"""What the edited knobs would bring and cost, beside what is now: pace, limit, batch, end, memory, and what to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.diagnosis.consequences import Consequences, Range
from engine.diagnosis.modelled import SAME
from engine.memory.budget import Resource
from tui.desk import Desk, over
from tui.format import DASH, clock, duration, margin, moment, rough, significant, size, whole
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.deskpanel import DeskPanel
from tui.widgets.line import Line, width_of

LABEL, SHORT, FIGURE = 12, 10, 11
WIDE = 50
BRIEF = ("samples/s", "time left", "RAM", "/dev/shm", "VRAM")  # noqa: S108  a name for people
MEMORY_ROLES = {"fits": "number", "tight": "warn", "over": "alarm", "unknown": "label"}
LIMITS = {
    "loader": "the loader",
    "compute": "computing",
    "cores": "the cores",
    "loading in the trainer": "loading in the trainer",
}
NOTHING_YET = "Nothing is changed. ← → change the knob under the cursor, a digit or enter types a value."


Say = Callable[[float | None], str]


class Figure(NamedTuple):
    """One row: what it was, what it would be, the range of that (or of what it is), and the role that says whether it
    is better."""

    label: str
    before: str
    after: str = ""
    more: str = ""
    role: str = "number"


def figures(desk: Desk) -> list[Figure]:
    """Rows from the pace to the end; `after` is empty where nothing changes."""
    view, before, after = desk.view, desk.before, desk.after
    if view is None:
        return []
    # Of a change that no model knows nothing follows.
    edited = any(change.name not in after.unmodelled for change in after.changes)
    role = role_of(after.ratio)
    # A step of another number of samples is longer for another reason than its pace.
    of_step = role if before.effective_batch == after.effective_batch else "number"
    rows = [
        _pace("s/step", before.step_seconds, after.step_seconds, edited, _seconds, of_step),
        _pace("samples/s", before.samples_per_second, after.samples_per_second, edited, _number, role),
    ]
    if edited and (faster := _faster(after.ratio, role)) is not None:
        rows.append(faster)
    limit = LIMITS.get(before.limit, before.limit) or DASH
    there = LIMITS.get(after.limit, after.limit)
    rows.append(Figure("limit", limit, there if edited and there != limit else ""))
    batch, other = before.effective_batch, after.effective_batch
    rows.append(Figure("batch", str(batch), str(other) if edited and other != batch else "", role="warn"))
    return [*rows, *_finish(view, before.finish, after, edited), *_memory(desk)]


def _seconds(value: float | None) -> str:
    return duration(value)


def _number(value: float | None) -> str:
    return DASH if value is None else significant(value)


def role_of(ratio: Range) -> str:
    """Whether it is surely faster, surely slower, or cannot be told: every figure of the pace has this colour."""
    if ratio.low is None or ratio.high is None:
        return "number"
    return "good" if ratio.low > 1 else "bad" if ratio.high < 1 else "number"


def _pace(label: str, before: Range, after: Range, edited: bool, said: Say, role: str) -> Figure:
    if not edited or after == before:
        return Figure(label, said(before.value), more=_spread(before, said))
    return Figure(label, said(before.value), said(after.value), _spread(after, said), role)


def _spread(of: Range, said: Say) -> str:
    return _span(of.low, of.high, said) if of.low is not None and of.high is not None else ""


def _faster(ratio: Range, role: str) -> Figure | None:
    """How many times as fast; nothing where a step stays as it is."""
    if ratio == SAME or ratio.value is None or ratio.low is None or ratio.high is None:
        return None
    return Figure("speed", "", f"×{ratio.value:.2f}", f"{ratio.low:.2f}–{ratio.high:.2f}", role)


def _span(low: float, high: float, said: Say) -> str:
    """`4.15–4.84 s`: the unit once, where both have the same."""
    first, last = said(low), said(high)
    number, _, unit = first.partition(" ")
    return f"{number}–{last}" if unit and last.endswith(f" {unit}") else f"{first}–{last}"


def _finish(view: View, before: Range, brings: Consequences, edited: bool) -> list[Figure]:
    """How long the experiment still takes, and when that is on the clock. Its colour is that of the difference: what
    the end is unsure of in either case says nothing of the change."""
    after, more = brings.finish, brings.more
    now, expected, held, there = view.state.now, view.forecast.experiment, before.value, after.value
    if held is None or expected.at is None:
        return []
    if not edited or there is None or there == held:
        spread = margin(held, before.low, before.high)
        return [Figure("time left", whole(held), more=spread), Figure("ends", moment(expected.at, now))]
    role = "number"
    if more.low is not None and more.high is not None:
        role = "good" if more.high < 0 else "bad" if more.low > 0 else "number"
    spread = margin(there, after.low, after.high)
    return [
        Figure("time left", whole(held), whole(there), spread, role),
        Figure("ends", clock(expected.at, now), clock(now + there, now), _sooner(held - there), role),
    ]


def _memory(desk: Desk) -> list[Figure]:
    """RAM, /dev/shm and VRAM, of what is free for it."""
    return [
        Figure(
            held.name,
            size(held.bytes) if _known(held) else DASH,
            size(there.bytes) if _known(there) and there.bytes != held.bytes else "",
            f"of {size(there.limit)}" if there.limit is not None else "",
            MEMORY_ROLES[there.verdict],
        )
        for held, there in desk.memory
        if held.parts or there.parts
    ]


def _known(resource: Resource) -> bool:
    return all(part.basis != "unknown" for part in resource.parts)


def _sooner(seconds: float) -> str:
    """`33d sooner`; nothing where it makes no difference."""
    if abs(seconds) < 60:
        return ""
    return f"{rough(abs(seconds))} {'sooner' if seconds > 0 else 'later'}"


# ---------------------------------------------------------------- lines


def outcome_lines(desk: Desk, width: int, height: int) -> list[Line]:
    """Figures, what they rest on, then what to know before choosing it."""
    rows = figures(desk)
    basis = _basis(desk.after)
    figured = [line for row in rows for line in _figure(row, width)]
    said = [line for text, role in sentences(desk) for line in _sentence(text, role, width)]
    rests: list[Line] = [[(part, "faint")] for part in wrapped(basis, width, 2)]
    if len(figured) + len(rests) + 1 + len(said) > height:
        # Where there is little room a range is said once, and what must be known goes before what it rests on.
        brief = [row._replace(more="") if row.label in BRIEF and width < WIDE else row for row in rows]
        figured = [line for row in brief for line in _figure(row, width)]
        if len(figured) + len(rests) + len(said) <= height:
            return [*figured, *rests, *said]
        lines = [*figured, *said]
        return lines if len(lines) <= height else [*lines[: height - 1], [("… tab and enter: all of it", "key")]]
    return [*figured, *rests, [], *said]


def _basis(after: Consequences) -> str:
    """What the pace rests on. An interval of what is measured is one of 95 %, as everywhere it is compared."""
    if after.step_seconds.low is None:
        return after.step_seconds.basis
    level = 95 if after.measured and after.ratio == SAME else 90
    return f"{after.step_seconds.basis}; {level} % ranges"


def _sentence(text: str, role: str, width: int) -> list[Line]:
    return [[("  " if at else "· ", role), (part, role)] for at, part in enumerate(wrapped(text, width - 2, 8))]


def _figure(row: Figure, width: int) -> list[Line]:
    if width >= WIDE:
        label, before = (f"{row.label:<{LABEL}}", "label"), row.before.rjust(FIGURE)
        if not row.after:
            return [[label, (before, "number"), (f"   {row.more}" if row.more else "", "label")]]
        arrow = " → " if row.before else "   "
        return [[label, (before, "text"), (arrow, "faint"), (f"{row.after:<{FIGURE}}", row.role), (row.more, "label")]]
    label = (f"{row.label:<{SHORT}}", "label")
    if not row.after:
        held: Line = [label, (row.before, "number")]
        fits = row.more and width_of(held) + 1 + len(row.more) <= width
        return [[*held, (f" {row.more}", "label")]] if fits else [held]
    from_there: Line = [(row.before, "text"), (" → ", "faint")] if row.before else []
    first: Line = [label, *from_there, (row.after, row.role)]
    if width_of(first) > width:
        first = [label, (row.after, row.role)]
    if row.more and width_of(first) + 1 + len(row.more) <= width:
        return [[*first, (f" {row.more}", "label")]]
    return [first, [(" " * SHORT, "text"), (row.more, "label")]] if row.more else [first]


def sentences(desk: Desk) -> list[tuple[str, str]]:
    """What to know, the gravest first, each with its role."""
    if not desk.changed:
        said = [(NOTHING_YET, "label")]
        return [*said, (desk.why_not, "label")] if desk.why_not else said
    locked = len(desk.after.locked)
    short = [(f"{one.name} is not enough: {one.sentence}", "alarm") for one in over(desk)]
    tight = [
        (f"{there.name} is tight: {there.sentence}", "warn")
        for held, there in desk.memory
        if there.verdict == "tight" and there.bytes > held.bytes
    ]
    found = [(text, "alarm" if at < locked else "warn") for at, text in enumerate(desk.after.sentences)]
    found = [*short, *([(desk.advice, "warn")] if short and desk.advice else []), *found, *tight]
    if desk.why_not:
        found.append((f"It cannot be applied from here: {desk.why_not}", "label"))
    return found


class OutcomePanel(DeskPanel):
    """Consequences, as they are edited."""

    TITLE = "What it would bring"
    NUMBER = 2
    HELP = (
        "On the left what is measured now; on the right that, times what a model of the loader as a queue, fitted to "
        "the steps measured here, says of the change, with the range that holds nine times in ten.\n"
        "Green is surely better, red surely worse, white cannot be told apart. Below: which knobs change more than the "
        "speed, and which a training under way cannot take up."
    )

    def show(self, desk: Desk, width: int, height: int) -> list[Line]:
        return outcome_lines(desk, width, height)
