"""The knob under the cursor in words: what it does, what it takes, why it is locked, why a value cannot be taken."""

from __future__ import annotations

from engine.config.knob import shown
from engine.config.profile import KNOBS
from engine.diagnosis.consequences import sweep
from engine.machine import cores
from tui.desk import Desk
from tui.draft import meaningless, range_words
from tui.format import significant
from tui.plain import wrapped
from tui.widgets.deskpanel import DeskPanel
from tui.widgets.knobs import KIND_ROLES
from tui.widgets.line import Line, width_of

SWEPT = {
    "num_workers": (0, 1, 2, 3, 4, 6, 8, 12, 16, 24),
    "prefetch_factor": (1, 2, 4, 8),
    "batch_size": (1, 2, 4, 8, 16),
}


def note_lines(desk: Desk, width: int, height: int) -> list[Line]:
    """What matters most first: where there is little room, the rest goes."""
    knob = KNOBS[desk.cursor]
    default = f", default {shown(knob.default)}" if shown(knob.default) not in ("true", "false") else ""
    said: list[tuple[str, str]] = []
    if desk.problem:
        said.append((desk.problem, "alarm"))
        said.append((f"it takes {range_words(knob)}", "text"))
        return _lines(said, width, height)
    said.append((f"{knob.help[0].upper()}{knob.help[1:]}.", "text"))
    lock = desk.locks.get(knob.name)
    if lock is not None:
        how = "overridden, locked at" if desk.locked(knob.name) else "locked at"
        said.append((f"{how} {shown(lock.value)}: {lock.reason}", "warn"))
    if idle := meaningless(knob.name, desk.draft.knobs):
        said.append((idle, "warn"))
    if desk.fixed(knob.name) and knob.name in desk.changed:
        said.append(("cannot change while it trains: save it (w) to launch or test with it", "warn"))
    text = f"{range_words(knob)}{default}"
    if (scaled := desk.draft.now.scaled.get(knob.name)) is not None:
        text = f"{scaled} = {shown(desk.draft.knobs[knob.name])} on this machine · {text}"
    kind = (str(knob.kind), KIND_ROLES[knob.kind])
    lines = [*_lines(said, width, height), [(text, "label"), ("  ·  ", "faint"), kind]]
    found = swept(desk, width)
    return [*lines, *[[]][: height - len(lines) - len(found)], *found] if found else lines


def swept(desk: Desk, width: int) -> list[Line]:
    """What other values of this knob would bring: where more of it brings nothing."""
    name = desk.cursor
    if desk.view is None or name not in SWEPT or meaningless(name, desk.draft.knobs):
        return []
    now = int(desk.draft.knobs[name])
    machine = cores.machine()
    values = [v for v in sorted({*SWEPT[name], now}) if name != "num_workers" or not cores.too_many(v, machine)]
    found = sweep(desk.view.state, desk.draft.knobs, name, values)
    if not found:
        return []
    most = max(found.values())
    line: Line = [("samples/s expected with ", "label")]
    for value, pace in found.items():
        role = "key" if value == now else "good" if pace > 0.98 * most else "text"
        part: Line = [(f"  {value} ", "key" if value == now else "faint"), (significant(pace), role)]
        if width_of(line) + width_of(part) > width:
            break
        line += part
    return [line]


def _lines(said: list[tuple[str, str]], width: int, height: int) -> list[Line]:
    return [
        [(line, role)]
        for at, (text, role) in enumerate(said)
        for line in wrapped(text, width, max(1, height - len(said) + 1) if at == 0 else 2)
    ]


class KnobNote(DeskPanel, can_focus=False):
    """What the knob under the cursor is."""

    TITLE = "Knob"

    def show(self, desk: Desk, width: int, height: int) -> list[Line]:
        self.entitle(desk.cursor)
        return note_lines(desk, width, height)
