"""What the edited knobs would bring and cost, beside what is now: pace, limit, batch, end, memory, and what to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.budget import Resource
from engine.consequences import Consequences, Range
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
    """One row: what it was, what it would be, the range of that, and the role that says whether it is better."""

    label: str
    before: str
    after: str = ""
    more: str = ""
    role: str = "number"


def figures(desk: Desk) -> list[Figure]:
    """Rows from the pace to the end; `after` is empty while nothing is changed."""
    view, before, after = desk.view, desk.before, desk.after
    if view is None:
        return []
    edited = bool(desk.changed)
    rows = [
        _pace("s/step", before.step_seconds, after.step_seconds, edited, _seconds, _measured(view, "step_seconds")),
        _pace(
            "samples/s",
            before.samples_per_second,
            after.samples_per_second,
            edited,
            _number,
            _measured(view, "samples_per_second"),
        ),
    ]
    if edited and (faster := _faster(before, after, rows[1].role)) is not None:
        rows.append(faster)
    limit = LIMITS.get(before.limit, before.limit) or DASH
    there = LIMITS.get(after.limit, after.limit)
    rows.append(Figure("limit", limit, there if edited and there != limit else ""))
    batch, other = before.effective_batch, after.effective_batch
    rows.append(Figure("batch", str(batch), str(other) if edited and other != batch else "", role="warn"))
    return [*rows, *_finish(view, before, after, edited), *_memory(desk)]


def _seconds(value: float | None) -> str:
    return duration(value)


def _number(value: float | None) -> str:
    return DASH if value is None else significant(value)


def _measured(view: View, name: str) -> float | None:
    value = getattr(view.bottleneck, name)
    return value if isinstance(value, float) else None


def _pace(label: str, before: Range, after: Range, edited: bool, said: Say, measured: float | None) -> Figure:
    held = measured if measured is not None else before.value
    if not edited or after.value is None:
        return Figure(label, said(held) if held is not None else DASH, "" if not edited else DASH, role="label")
    spread = _span(after.low, after.high, said) if after.low is not None and after.high is not None else ""
    if held is None or after.low is None or after.high is None:
        role = "number"
    else:
        less, more = after.high < held, after.low > held
        better, worse = (less, more) if label == "s/step" else (more, less)
        role = "good" if better else "bad" if worse else "number"
    return Figure(label, said(held) if held is not None else DASH, said(after.value), spread, role)


def _faster(before: Consequences, after: Consequences, role: str) -> Figure | None:
    """How many times as fast."""
    held, there = before.samples_per_second.value, after.samples_per_second
    if not held or there.value is None or there.low is None or there.high is None:
        return None
    return Figure("speed", "", f"×{there.value / held:.2f}", f"{there.low / held:.2f}–{there.high / held:.2f}", role)


def _span(low: float, high: float, said: Say) -> str:
    """`4.15–4.84 s`: the unit once, where both have the same."""
    first, last = said(low), said(high)
    number, _, unit = first.partition(" ")
    return f"{number}–{last}" if unit and last.endswith(f" {unit}") else f"{first}–{last}"


def _finish(view: View, before: Consequences, after: Consequences, edited: bool) -> list[Figure]:
    """How long the experiment still takes, and when that is on the clock."""
    now, expected = view.state.now, view.forecast.experiment
    if before.finish.value is None or expected.seconds is None or expected.at is None:
        return []
    held, there = expected.seconds, after.finish
    if not edited or there.value is None:
        return [Figure("time left", whole(held)), Figure("ends", moment(expected.at, now))]
    role = "number"
    if there.low is not None and there.high is not None:
        role = "good" if there.high < held else "bad" if there.low > held else "number"
    spread = margin(there.value, there.low, there.high)
    return [
        Figure("time left", whole(held), whole(there.value), spread, role),
        Figure("ends", clock(expected.at, now), clock(now + there.value, now), _sooner(held - there.value), role),
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
    ranges = desk.changed and desk.after.step_seconds.value is not None
    basis = desk.after.step_seconds.basis + (", 90 % ranges" if ranges else "")
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


def _sentence(text: str, role: str, width: int) -> list[Line]:
    return [[("  " if at else "· ", role), (part, role)] for at, part in enumerate(wrapped(text, width - 2, 8))]


def _figure(row: Figure, width: int) -> list[Line]:
    if width >= WIDE:
        label, before = (f"{row.label:<{LABEL}}", "label"), row.before.rjust(FIGURE)
        if not row.after:
            return [[label, (before, "number")]]
        arrow = " → " if row.before else "   "
        return [[label, (before, "text"), (arrow, "faint"), (f"{row.after:<{FIGURE}}", row.role), (row.more, "label")]]
    label = (f"{row.label:<{SHORT}}", "label")
    if not row.after:
        return [[label, (row.before, "number")]]
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
        "On the left what is measured now, on the right what the edited knobs would bring, with the range that holds "
        "nine times in ten: from a model of the loader as a queue, fitted to the steps measured here.\n"
        "Green is surely better, red surely worse, white cannot be told apart. Below: which knobs change more than the "
        "speed, and which a training under way cannot take up."
    )

    def show(self, desk: Desk, width: int, height: int) -> list[Line]:
        return outcome_lines(desk, width, height)
