"""The launch dialog: what to train and how, what would be trained and when it would end, then go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from subprocess import SubprocessError
from typing import ClassVar, NamedTuple

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Input, Label, Select, Static

from engine import catalog, launch
from engine.errors import UsageError
from engine.experiment import Plan
from engine.forecast import Forecast
from engine.launch import Request
from tui.format import duration, margin, plural
from tui.plain import plain

# Typing is followed by a look at what was typed, not every letter of it.
SETTLE_SECONDS = 0.4
FIRST = "quickstart"


class Field(NamedTuple):
    """One line of text in the dialog."""

    name: str
    label: str
    hint: str


FIELDS = (
    Field("data", "data", "a BIDS-like tree, or a folder of image/label NIfTI; quickstart makes its own"),
    Field("folds", "folds", "all; or some, as 0,2"),
    Field("restarts", "restarts", "as the experiment says"),
    Field("epochs", "epochs", "as the experiment says"),
    Field("device", "devices", "auto; cpu, or a GPU's number"),
    Field("stop_after_runs", "stop after", "all runs; or a number of runs, as 1"),
    Field("name", "name", "the folder's name, if another than the experiment's"),
)


def request_from(values: Mapping[str, str], logs: Path) -> Request:
    """The launch that was typed. Raises UsageError naming the field."""
    folds = None
    if values.get("folds"):
        try:
            folds = tuple(int(word) for word in values["folds"].replace(" ", ",").split(",") if word)
        except ValueError:
            raise UsageError(f"folds {values['folds']!r}: write fold numbers with commas, as 0,2") from None
    return Request(
        experiment=values["experiment"],
        logs=logs,
        profile=values.get("profile") or None,
        name=values.get("name") or None,
        data=Path(values["data"]) if values.get("data") else None,
        folds=folds,
        restarts=_number(values, "restarts"),
        epochs=_number(values, "epochs"),
        device=values.get("device") or None,
        stop_after_runs=_number(values, "stop_after_runs") or 0,
    )


def _number(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name.replace('_', ' ')} {text!r}: it is a whole number") from None


def summary(plan: Plan) -> str:
    """What would be trained."""
    folds, restarts = len({key.fold for key in plan.runs}), len({key.restart for key in plan.runs})
    stop = f", stopping after {plural(plan.stop_after_runs, 'run')}" if plan.stop_after_runs else ""
    return (
        f"{plural(len(plan.runs), 'run')} ({plural(folds, 'fold')} × {plural(restarts, 'restart')}) of "
        f"{plural(plan.experiment.epochs, 'epoch')}, profile {plan.profile.name}, device {plan.device}{stop}"
    )


def expectation(expected: Forecast | None) -> str:
    """When it would end, if anything is known."""
    if expected is None or expected.experiment.seconds is None:
        return "How long it takes is not known yet: nothing of this kind has run here."
    run, every = expected.run, expected.experiment
    spread = margin(every.seconds, every.low, every.high)
    one = f"a run {duration(run.seconds)}, " if run.seconds is not None else ""
    return f"{one}all of it {duration(every.seconds)} {spread} · {every.basis}"


class LaunchScreen(ModalScreen[Path | None]):
    """Dismissed with the folder of what was launched, or None."""

    AUTO_FOCUS = "#experiment"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("ctrl+s", "go", "launch", priority=True),
    ]

    def __init__(self, logs: Path) -> None:
        super().__init__()
        self._logs = logs
        self._experiments = catalog.experiments()
        self._profiles = catalog.profiles()
        self._timer: Timer | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        first = FIRST if FIRST in self._experiments else next(iter(self._experiments), None)
        with Vertical(classes="dialog wide-dialog"):
            yield Static(Content("Launch an experiment"), classes="dialog-title", markup=False)
            with VerticalScroll(classes="dialog-body"):
                with Horizontal(classes="field"):
                    yield Label("experiment", markup=False)
                    yield Select(
                        [(plain(e.name), e.name) for e in self._experiments.values()],
                        value=first if first else Select.NULL,
                        allow_blank=first is None,
                        id="experiment",
                        compact=True,
                    )
                yield Static(id="title", markup=False)
                with Horizontal(classes="field"):
                    yield Label("profile", markup=False)
                    yield Select(
                        [(plain(f"{e.name}  {e.title}"), e.name) for e in self._profiles.values()],
                        prompt="as the experiment says",
                        id="profile",
                        compact=True,
                    )
                for field in FIELDS:
                    with Horizontal(classes="field"):
                        yield Label(field.label, markup=False)
                        yield Input(placeholder=field.hint, id=field.name, compact=True)
            yield Static(id="expected", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Cancel (esc)", id="cancel", compact=True)
                yield Button("Launch (ctrl+s)", id="go", compact=True, classes="go")

    def on_mount(self) -> None:
        self._changed()

    def on_select_changed(self) -> None:
        self._changed()

    def on_input_changed(self) -> None:
        self._changed()

    def _changed(self) -> None:
        name = self._value("experiment")
        entry = self._experiments.get(name)
        self.query_one("#title", Static).update(
            plain(entry.problem or entry.title if entry is not None else "no experiment file was found")
        )
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SETTLE_SECONDS, self._expect)

    def _value(self, name: str) -> str:
        widget = self.query_one(f"#{name}")
        if isinstance(widget, Input):
            return widget.value.strip()
        assert isinstance(widget, Select)
        return "" if widget.value is Select.NULL else str(widget.value)

    def _values(self) -> dict[str, str]:
        return {name: self._value(name) for name in ("experiment", "profile", *(field.name for field in FIELDS))}

    @work(thread=True, exclusive=True, group="expect")
    def _expect(self) -> None:
        """What these values would train, at once; when it would end, as soon as that is known."""
        values = self._values()
        try:
            request = request_from(values, self._logs)
            plan = launch.plan_for(request)
            note = launch.folder_for(request, plan)[1]
        except UsageError as error:
            self.app.call_from_thread(self._say, values, str(error), "$bad")
            return
        head = "\n".join(filter(None, (summary(plan), note)))
        self.app.call_from_thread(self._say, values, f"{head}\nlooking for earlier runs of this kind …", "$label")
        try:
            text = expectation(launch.expect(request, plan))
        except (UsageError, OSError, SubprocessError) as error:
            text = str(error)
        self.app.call_from_thread(self._say, values, f"{head}\n{text}", "$number")

    def _say(self, values: dict[str, str], text: str, style: str) -> None:
        """Below the fields; words about values that were changed meanwhile are dropped."""
        if self.is_mounted and not self._starting and values == self._values():
            self._write(text, style)

    def _write(self, text: str, style: str) -> None:
        lines = [plain(line, style) for line in text.split("\n")][:6]
        self.query_one("#expected", Static).update(Content("\n").join(lines))

    def on_input_submitted(self) -> None:
        self.focus_next()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "go":
            self.action_go()
        else:
            self.action_cancel()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def action_go(self) -> None:
        if not self._starting:
            self._starting = True
            self._write("looking at the volumes, then starting the supervisor …", "$accent")
            self._start(self._values())

    @work(thread=True, exclusive=True, group="start")
    def _start(self, values: dict[str, str]) -> None:
        try:
            folder = launch.start(request_from(values, self._logs))
        except launch.Running as running:
            folder = running.folder
        except (UsageError, OSError, SubprocessError) as error:
            self.app.call_from_thread(self._failed, str(error))
            return
        self.app.call_from_thread(self.dismiss, folder)

    def _failed(self, text: str) -> None:
        self._starting = False
        if self.is_mounted:
            self._write(text, "$bad")
