"""Give a training a limit: a time, a date, or a sum of money; or take its limit away."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from engine.errors import UsageError
from engine.journals.limit_events import LimitSet
from engine.limit import allowance, asked, limits
from tui.messages import View
from tui.plain import plain
from tui.words import ENDED

HINT = "12h · 2026-11-22T08:00 · 25USD at 1.89USD · none"


class LimitScreen(ModalScreen[str | None]):
    """Dismissed with what was typed, once it can be understood, or None."""

    AUTO_FOCUS = "#limit"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel")]

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        over = self._view.state.phase in ENDED
        name = self._view.state.plan.name
        with Vertical(classes="dialog"):
            title = f"Go on with {name}, up to a limit" if over else f"A limit for {name}"
            yield Static(plain(title), classes="dialog-title", markup=False)
            yield Static(self._now(), classes="dialog-text", markup=False)
            with Horizontal(classes="field"):
                yield Label("limit", markup=False)
                yield Input(placeholder=HINT, id="limit", compact=True)
            yield Static(id="said", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel (esc)", id="cancel", compact=True)
                words = "Resume (enter)" if over else "Set it (enter)"
                yield Button(plain(words), id="go", compact=True, classes="go")

    def _now(self) -> Content:
        allowed = self._view.allowance
        if allowed is None or self._view.state.phase in ENDED:
            reached = self._view.state.reached
            ended = f"It stopped for its {reached.text}: give it another, or none." if reached is not None else ""
            said = ended or ("It has no limit." if allowed is None else "It has ended.")
        else:
            fit = f": {allowed.fit.text}" if allowed.fit is not None else ""
            said = f"It ends by {limits.clock(allowed.first.at)} at the latest ({allowed.first.inner}){fit}."
        return plain(f"{said} In time before its limit it finishes its step, writes a checkpoint and ends.", "$label")

    def on_input_changed(self) -> None:
        text = self.query_one("#limit", Input).value.strip()
        try:
            self._say(self._meaning(text) if text else "", "$text")
        except UsageError as error:
            self._say(str(error), "$bad")

    def _meaning(self, text: str) -> str:
        """What it would come to. Raises UsageError."""
        wanted, state = limits.typed(text), self._view.state
        if wanted is None:
            return "no limit of yours any more"
        held = asked.of_training(state, wanted)
        record = LimitSet(limits=held, spent=(self._view.allowance.spent or 0.0) if self._view.allowance else 0.0)
        first = limits.dues(record, time.time(), 0.0)[0]
        fit = allowance.fit_of(state, first.seconds) if state.phase not in ENDED else None
        return f"ends by {limits.clock(first.at)} at the latest" + (f": {fit.text}" if fit is not None else "")

    def _say(self, text: str, style: str) -> None:
        self.query_one("#said", Static).update(plain(text, style))

    def on_input_submitted(self) -> None:
        self._go()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self._go()
        else:
            self.dismiss(None)

    def _go(self) -> None:
        text = self.query_one("#limit", Input).value.strip()
        if not text:
            return
        try:
            self._meaning(text)
        except UsageError as error:
            self._say(str(error), "$bad")
            return
        self.dismiss(text)

    def action_cancel(self) -> None:
        self.dismiss(None)
