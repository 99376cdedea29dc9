"""Save an edited profile as a file of one's own: a new one, or over an existing one when that is confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from engine.config import profile_file
from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.config.profile_save import save_profile
from engine.diagnosis.candidates import Candidate
from engine.errors import UsageError
from engine.paths import checked_name
from tui.draft import Version, to_save
from tui.plain import plain
from tui.screens.confirm import Confirm, replace_question

FOLDER = Path("profiles")


class SaveAs(ModalScreen[Path | None]):
    """Dismissed with the file that was written, or None."""

    AUTO_FOCUS = "#name"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("ctrl+s", "go", "save", priority=True),
    ]

    def __init__(self, version: Version, plan: Plan, base: Candidate | None, reason: str = "") -> None:
        """`base`: the profile it was made from, whose file is taken with all its comments. `reason`: why values differ
        from it."""
        super().__init__()
        self._version = version
        self._plan = plan
        self._base = base
        self._reason = reason

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content("Save the profile"), classes="dialog-title", markup=False)
            yield Static(self._what(), classes="dialog-text", markup=False)
            with Horizontal(classes="field"):
                yield Label("name", markup=False)
                yield Input(placeholder="a new name, without .toml", id="name", compact=True)
            with Horizontal(classes="field"):
                yield Label("title", markup=False)
                yield Input(value=self._title(), placeholder="when it is to be used", id="title-text", compact=True)
            with Horizontal(classes="field"):
                yield Label("why", markup=False)
                yield Input(value=self._reason, placeholder="goes beside each changed value", id="why", compact=True)
            yield Static(id="said", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel (esc)", id="cancel", compact=True)
                yield Button("Save (ctrl+s)", id="go", compact=True)

    def on_mount(self) -> None:
        self._where()

    def _what(self) -> Content:
        values = self._values()
        listed = ", ".join(f"{name} = {shown(value)}" for name, value in values.items())
        made = f"Made from {self._base.name}, whose comments are kept. " if self._base is not None else ""
        return Content("\n").join(
            [plain(f"{made}It would set:", "$label"), plain(listed or "nothing: every knob is as it would be anyway")]
        )

    def _title(self) -> str:
        return f"as {self._base.name}, edited" if self._base is not None else f"as {self._plan.name} runs, edited"

    def _values(self) -> dict[str, Value]:
        own: dict[str, Value] = {}
        if self._base is not None and self._base.path is not None:
            try:
                own = profile_file.load(self._base.path)[1]
            except UsageError:
                own = {}
        experiment = self._plan.experiment
        held = experiment.knobs | {name: lock.value for name, lock in experiment.locks.items()}
        return to_save(self._version, held, own)

    @property
    def path(self) -> Path:
        """Raises UsageError for what cannot be a file's name."""
        name = self.query_one("#name", Input).value.strip().removesuffix(".toml")
        if not name:
            raise UsageError("give it a name")
        try:
            return FOLDER / f"{checked_name(name)}.toml"
        except UsageError:
            raise UsageError(
                f"{name!r} cannot be a profile's name: letters, digits, '.', '_' and '-', a letter or digit first"
            ) from None

    def on_input_changed(self) -> None:
        self._where()

    def _where(self) -> None:
        try:
            path = self.path
        except UsageError as error:
            empty = not self.query_one("#name", Input).value.strip()
            self._say("" if empty else str(error), "$bad")
            return
        if path.exists():
            self._say(f"{path} is there already: you would be asked before it is changed", "$warn")
        else:
            self._say(f"as the new file {path}", "$label")

    def _say(self, text: str, style: str) -> None:
        if self.is_mounted:
            self.query_one("#said", Static).update(plain(text, style))

    def on_input_submitted(self) -> None:
        self.action_go()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self.action_go()
        else:
            self.action_cancel()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def action_go(self) -> None:
        try:
            path = self.path
        except UsageError as error:
            self._say(str(error), "$bad")
            return
        title, why = (self.query_one(f"#{name}", Input).value.strip() for name in ("title-text", "why"))
        if path.exists():

            def confirmed(yes: bool | None) -> None:
                if yes:
                    self._write(path, title, why, True)

            self.app.push_screen(Confirm(replace_question(path)), confirmed)
        else:
            self._write(path, title, why, False)

    @work(thread=True, exclusive=True, group="save")
    def _write(self, path: Path, title: str, why: str, replace: bool) -> None:
        values = self._values()
        # A file that is written over keeps its own text; a new one begins as the one it is made from.
        base = path if replace else self._base.path if self._base is not None else None
        reasons = dict.fromkeys(values, why) if why else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            written = save_profile(path, values, base, reasons, title or None, replace)
        except (OSError, UsageError) as error:
            self.app.call_from_thread(self._say, str(error), "$bad")
            return
        self.app.call_from_thread(self.dismiss, written)
