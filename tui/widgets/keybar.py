"""The bottom line: the keys that do something now. A click does the same."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.reactive import reactive

from tui.actions import COMMANDS, Command, Situation, bar_key, bar_text
from tui.widgets.line import Line, width_of
from tui.widgets.panel import Lines

# Commands of this rank and beyond go before a word of the others does.
SPARE = 9


def key_spans(situation: Situation, width: int) -> list[tuple[Command, Line]]:
    """Commands in their order, as many as fit; the ones that matter most stay, and what quitting does not do."""
    items: list[tuple[Command, Line]] = []
    for command in COMMANDS:
        text = bar_text(command, situation) if command.possible(situation) else ""
        if text:
            items.append((command, [(f" {bar_key(command, situation)}", "key"), (f" {text} ", "text")]))
    while items and sum(width_of(line) for _, line in items) > width:
        least = max(items, key=lambda item: item[0].rank)
        if least[0].rank >= SPARE:
            items.remove(least)
            continue
        if any(command.action == "quit" and line[1][0] != " quit " for command, line in items):
            items = [(c, [line[0], (" quit ", "text")]) if c.action == "quit" else (c, line) for c, line in items]
            continue
        items.remove(least)
    return items


class KeyBar(Lines):
    """One line, always there."""

    class Chosen(Message):
        """A key was clicked."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    situation: reactive[Situation] = reactive(Situation(), repaint=False, init=False)

    def watch_situation(self) -> None:
        self.redraw()

    def lines(self, width: int, height: int) -> list[Line]:  # noqa: ARG002  it is cut
        return [[span for _, spans in key_spans(self.situation, width) for span in spans]]

    def on_click(self, event: events.Click) -> None:
        at = 0
        for command, spans in key_spans(self.situation, self.content_size.width):
            at += width_of(spans)
            if event.x < at:
                self.post_message(self.Chosen(command.action))
                return
