"""What happened, in plain sentences with the time, the newest at the bottom."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from engine.journals.clocks import merged
from engine.live.state import ExperimentState, Sentence, all_sentences
from tui.format import clock_seconds
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.line import Line
from tui.widgets.panel import Panel
from tui.words import LEVEL_ROLES

TIME, WHEEL = 10, 3


def told(state: ExperimentState) -> list[Sentence]:
    """The experiment's sentences and those of the run that is shown; of the runs beside it what is more than news, with
    their numbers."""
    said = all_sentences(state)
    for place in _others(state):
        own = [
            msgspec.structs.replace(one, text=f"run {place + 1}: {one.text}")
            for one in state.runs[place].sentences
            if one.level in ("warn", "bad")
        ]
        said = merged(said, own)
    return said


def _others(state: ExperimentState) -> list[int]:
    """Places of the runs that go on beside the one shown."""
    return [place for place in state.under_way if place != state.current]


def events_lines(view: View, width: int, height: int, back: int = 0) -> list[Line]:
    """The last sentences that fit, `back` of the newest left out; long ones go on below, never over two lines."""
    sentences = told(view.state)
    shown = sentences[: len(sentences) - back] if back else sentences
    lines: list[Line] = []
    for sentence in reversed(shown):
        parts = wrapped(sentence.text, width - TIME, 2) or [""]
        block: list[Line] = [
            [(f"{clock_seconds(sentence.t):<{TIME}}", "faint"), (parts[0], LEVEL_ROLES[sentence.level])]
        ]
        block += [[(" " * TIME, "text"), (part, LEVEL_ROLES[sentence.level])] for part in parts[1:]]
        if len(lines) + len(block) > height:
            break
        lines = [*block, *lines]
    return lines


class EventsPanel(Panel):
    """The list of events; up and down look back while it fills the screen."""

    TITLE = "Events"
    NUMBER = 8
    HELP = (
        "What happened, newest at the bottom. Page up, page down and the wheel look further back; end returns, and so "
        "does leaving the panel."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "look_back(1)", "earlier", show=False),
        Binding("pagedown", "look_back(-1)", "later", show=False),
        Binding("end", "look_back(-1000)", "newest", show=False),
    ]
    _read: Sentence | None = None
    back: reactive[int] = reactive(0, repaint=False, init=False)

    def action_look_back(self, pages: int) -> None:
        self._look(pages * max(1, self.content_size.height - 1))

    def _look(self, lines: int) -> None:
        last = max(0, len(told(self.view.state)) - 1) if self.view is not None else 0
        self.back = min(max(0, self.back + lines), last)

    def _hold(self, view: View) -> None:
        """What is read stays where it is while new sentences come."""
        sentences = told(view.state)
        if self._read in sentences:
            self.set_reactive(EventsPanel.back, len(sentences) - 1 - sentences.index(self._read))
        elif self.back < len(sentences):
            self._read = sentences[-1 - self.back]

    def watch_back(self) -> None:
        self._read = None
        self.entitle("looking back · end returns" if self.back else "", "$warn")
        self.redraw()

    def on_mouse_scroll_up(self) -> None:
        self._scrolled(WHEEL)

    def on_mouse_scroll_down(self) -> None:
        self._scrolled(-WHEEL)

    def _scrolled(self, lines: int) -> None:
        # The keys that lead back are those of the focused panel.
        self.focus(scroll_visible=False)
        self._look(lines)

    def on_blur(self) -> None:
        self.back = 0

    def depends(self, view: View) -> tuple[object, ...]:
        state = view.state
        others = (state.runs[place].sentences for place in _others(state))
        return state.sentences, state.run.sentences if state.run is not None else None, *others

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        if self.back:
            self._hold(view)
        return events_lines(view, width, height, self.back)
