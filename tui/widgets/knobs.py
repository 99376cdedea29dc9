"""Every knob with its value, in three groups by what changing it may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.config.knob import Kind, Knob, shown
from engine.config.profile import KNOBS
from tui.desk import Desk
from tui.draft import meaningless
from tui.widgets.deskpanel import DeskPanel
from tui.widgets.line import Line

NAME, VALUE, UNIT, WAS = 25, 11, 10, 13
HINTED = 58
KIND_ROLES = {Kind.SPEED: "good", Kind.OPTIMISATION: "warn", Kind.METRIC: "accent"}
KINDS = tuple(Kind)
GROUPED: tuple[str, ...] = tuple(knob.name for kind in KINDS for knob in KNOBS.values() if knob.kind == kind)
HINTS = {
    Kind.SPEED: "nothing is learned differently",
    Kind.OPTIMISATION: "another training, not comparable",
    Kind.METRIC: "what is measured, not what is learned",
}
# What may begin a text that is typed: numbers, and words such as cores/2.
BEGINS_ENTRY = "0123456789"


class Rows(list[tuple[str, Line]]):
    """Lines in order, each with its knob; '' for a heading."""


def rows(desk: Desk, width: int, height: int = 0) -> Rows:
    """Every knob below the heading of its kind; with room for it, a blank line between the groups."""
    found = Rows()
    for kind in KINDS:
        if found and height >= len(KNOBS) + 2 * len(KINDS) - 1:
            found.append(("", []))
        head: Line = [(str(kind), KIND_ROLES[kind])]
        if width >= HINTED:
            head.append((f"  {HINTS[kind]}", "faint"))
        found.append(("", head))
        found += [(knob.name, _row(desk, knob, width)) for knob in KNOBS.values() if knob.kind == kind]
    return found


def _row(desk: Desk, knob: Knob, width: int) -> Line:
    name, value = knob.name, desk.draft.knobs[knob.name]
    here = name == desk.cursor
    idle = bool(meaningless(name, desk.draft.knobs))
    differs = name in desk.changed
    line: Line = [
        ("▸ " if here else "  ", "key"),
        (f"{name:<{NAME}}", "number" if here else "faint" if idle else "label"),
    ]
    if here and desk.entry is not None:
        line.append((f"{desk.entry}▏".ljust(VALUE), "alarm" if desk.problem else "key"))
    else:
        role = "faint" if idle and not differs else "key" if differs else "text"
        line.append((f"{shown(value):<{VALUE}}", role))
    roomy = width >= 2 + NAME + VALUE + UNIT + WAS
    mark, role = _mark(desk, name)
    if mark or roomy:
        line.append(((mark or knob.unit).ljust(UNIT if roomy else 0), role))
    if roomy or not mark:
        line.append((_was(desk, name), "accent"))
    return line


def _was(desk: Desk, name: str) -> str:
    """The value of the profile it is compared with, where that is another one."""
    return f"← {shown(desk.reference.knobs[name])}" if name in desk.against else ""


def _mark(desk: Desk, name: str) -> tuple[str, str]:
    if name in desk.locks:
        return ("unlocked", "alarm") if desk.locked(name) else ("locked", "warn")
    if desk.fixed(name) and name in desk.changed:
        return "relaunch", "warn"
    return "", "faint"


def window(found: Sequence[tuple[str, Line]], cursor: str, height: int) -> int:
    """The first line to show so that the cursor's is among `height`, its heading too where it can be."""
    at = next((i for i, (name, _) in enumerate(found) if name == cursor), 0)
    last = max(0, len(found) - height)
    return min(last, max(0, at - height + 2)) if at >= height - 1 else 0


class KnobList(DeskPanel):
    """Up and down choose a knob, left and right change it, a digit or enter begins to type a value."""

    TITLE = "Knobs"
    NUMBER = 1
    HELP = (
        "Every knob of the profile, in three groups: speed only (nothing is learned differently), changes the "
        "optimisation (another training), changes the metric (what is measured).\n"
        "← is the value it is compared with (d chooses another profile, o loads it). locked: the experiment needs "
        "that value, says why below and asks before it changes. relaunch: a training under way cannot take that up."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "knob before", show=False),
        Binding("down,j", "move(1)", "next knob", show=False),
        Binding("home", "move(-100)", "first", show=False),
        Binding("end", "move(100)", "last", show=False),
        Binding("left,h,minus", "step(-1)", "less", show=False),
        Binding("right,l,plus,equals_sign,space", "step(1)", "more", show=False),
        Binding("enter", "enter", "type", show=False),
        Binding("escape", "escape", "back", show=False),
    ]

    class Moved(Message):
        """Another knob is looked at."""

        def __init__(self, knob: str) -> None:
            super().__init__()
            self.knob = knob

    class Stepped(Message):
        """The knob looked at shall be more or less."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Typed(Message):
        """A value is being typed: the text so far, None once that is over. `done`: it is meant."""

        def __init__(self, text: str | None, done: bool = False) -> None:
            super().__init__()
            self.text = text
            self.done = done

    class Left(Message):
        """Escape, with nothing being typed."""

    _first = 0

    def show(self, desk: Desk, width: int, height: int) -> list[Line]:
        self.entitle(f"{len(desk.changed)} changed" if desk.changed else "", "$accent")
        found = rows(desk, width, height)
        self._first = window(found, desk.cursor, height)
        return [line for _, line in found[self._first : self._first + height]]

    # ------------------------------------------------------------ keys

    @property
    def entry(self) -> str | None:
        return self.desk.entry if self.desk is not None else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's signature
        # What is being typed may hold any of the keys.
        return self.entry is None or action in ("enter", "escape")

    def on_key(self, event: events.Key) -> None:
        text = event.character if event.is_printable else None
        if self.entry is not None:
            if event.key == "backspace":
                self._typed(self.entry[:-1])
            elif text is not None:
                self._typed(self.entry + text)
            elif event.key in ("up", "down", "tab"):
                self._typed(self.entry, done=True)
            else:
                return
        elif self.desk is not None and text is not None and text in BEGINS_ENTRY and KNOBS[self.desk.cursor].whole:
            self._typed(text)
        else:
            return
        event.stop()
        event.prevent_default()

    def _typed(self, text: str | None, done: bool = False) -> None:
        self.post_message(self.Typed(text, done))

    def action_move(self, by: int) -> None:
        if self.desk is not None:
            at = min(max(0, GROUPED.index(self.desk.cursor) + by), len(GROUPED) - 1)
            self.post_message(self.Moved(GROUPED[at]))

    def action_step(self, by: int) -> None:
        self.post_message(self.Stepped(by))

    def action_enter(self) -> None:
        if self.desk is None:
            return
        if self.entry is not None:
            self._typed(self.entry, done=True)
        elif KNOBS[self.desk.cursor].whole:
            self._typed("")
        else:
            self.post_message(self.Stepped(1))

    def action_escape(self) -> None:
        if self.entry is not None:
            self._typed(None)
        else:
            self.post_message(self.Left())

    # ------------------------------------------------------------ the mouse

    def on_click(self, event: events.Click) -> None:
        if self.desk is None:
            return
        found, at = rows(self.desk, *self.content_size), self._first + event.y - self.gutter.top
        if 0 <= at < len(found) and found[at][0]:
            self.post_message(self.Moved(found[at][0]))

    def on_mouse_scroll_down(self) -> None:
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-1)
