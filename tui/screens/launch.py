"""The launch dialog: what to train or test and how, what would be done and when it would end, then go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from subprocess import SubprocessError
from typing import ClassVar

import msgspec
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Static

from engine.config import catalog
from engine.config.knob import shown
from engine.errors import UsageError
from engine.live.state import new_experiment
from engine.phase import trials
from engine.runs import launch
from engine.runs.expected import prospects
from engine.runs.launch import Request
from engine.runs.placing import Running
from tui.draft import Draft, draft_of
from tui.launching import (
    Preset,
    Task,
    expectation,
    number_of,
    planned,
    request_from,
    summary,
    tasks,
    variants_in,
)
from tui.plain import plain
from tui.verbs.limiting import foretold
from tui.widgets.launchform import LaunchForm

# Typing is followed by a look at what was typed, not every letter of it.
SETTLE_SECONDS = 0.4
FIRST = "quickstart"


def disturbed(app: App[object]) -> str:
    """Said where a training goes on that a test would disturb, and be disturbed by."""
    going = bool(getattr(getattr(app, "situation", None), "going", False))
    return (
        "a training is under way here: each would slow the other, and phases that are disturbed repeat" if going else ""
    )


class LaunchScreen(ModalScreen[Path | None]):
    """Dismissed with the folder of what was launched, or None."""

    AUTO_FOCUS = "#experiment"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-medium")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("ctrl+s", "go", "launch", priority=True),
        Binding("ctrl+e", "edit", "edit the profile", priority=True),
        Binding("ctrl+t", "what_if", "what if", priority=True),
    ]

    def __init__(self, logs: Path, preset: Preset | None = None) -> None:
        super().__init__()
        self._logs = logs
        self._preset = preset
        self._tasks = tasks()
        self._settings = dict(preset.settings) if preset is not None else {}
        self._override = False
        self._set_for = (preset.experiment, preset.profile) if preset is not None else ("", "")
        self._experiments = catalog.experiments()
        self._profiles = catalog.profiles()
        self._timer: Timer | None = None
        self._fitted = ("", "")
        self._starting = False

    def compose(self) -> ComposeResult:
        preset = self._preset or Preset("")
        first = preset.experiment if preset.experiment in self._experiments else FIRST
        if first not in self._experiments:
            first = next(iter(self._experiments), "")
        with Vertical(classes="dialog wide-dialog"):
            yield Static(
                Content("Launch or test an experiment  ·  ctrl+t what if"), classes="dialog-title", markup=False
            )
            yield LaunchForm(preset, self._experiments, self._profiles, self._tasks, first)
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
        form = self.query_one(LaunchForm)
        name, profile = form.value("experiment"), form.value("profile")
        if self._set_for != (name, profile):
            # What was edited was edited on top of another profile.
            self._settings, self._override = {}, False
        if self._fitted != (fitted := (name, form.value("task"))):
            self._fitted = fitted
            form.fit(variants_in(name), not self._wanted({"task": fitted[1]}).kind)
        self._say_settings()
        entry = self._experiments.get(name)
        self.query_one("#title", Static).update(
            plain(entry.problem or entry.title if entry is not None else "no experiment file was found")
        )
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(SETTLE_SECONDS, lambda: self._expect(self._values()))

    def _say_settings(self) -> None:
        said = ", ".join(f"{name} = {shown(value)}" for name, value in self._settings.items())
        text = (
            plain(f"{said} (ctrl+e edits)", "$number")
            if said
            else plain("as the profile says (ctrl+e edits)", "$faint")
        )
        self.query_one("#settings", Static).update(text)

    def _wanted(self, values: Mapping[str, str]) -> Task:
        return next((task for task in self._tasks if task.title == values["task"]), self._tasks[0])

    def _request(self, values: Mapping[str, str]) -> Request:
        request = request_from(values, self._logs)
        return msgspec.structs.replace(request, settings=dict(self._settings), override_locks=self._override)

    def action_edit(self) -> None:
        """The profile's knobs in the editor, on top of which what is changed becomes a setting."""
        from tui.monitor import view_of
        from tui.screens.editor import EditorScreen

        values = self._values()
        try:
            plain_plan = launch.plan_for(request_from(values, self._logs))
            profile = plain_plan.profile
            scaled = {name: text for name, text in profile.scaled.items() if name not in self._settings}
            draft = draft_of(profile.name, profile.knobs | self._settings, scaled)
        except UsageError as error:
            self._write(str(error), "$bad")
            return
        view = view_of(new_experiment(str(self._logs / plain_plan.name), plain_plan))

        def edited(found: Draft | None) -> None:
            if found is not None:
                held, locks = plain_plan.profile.knobs, plain_plan.experiment.locks
                self._settings = {name: value for name, value in found.knobs.items() if value != held.get(name)}
                self._override = any(name in locks for name in self._settings)
                self._set_for = (values["experiment"], values["profile"])
                self._changed()

        self.app.push_screen(EditorScreen(plain_plan, self._logs, draft=draft, launching=True, view=view), edited)

    def action_what_if(self) -> None:
        """What these values would take, here and on other hardware."""
        from engine.whatif import estimate
        from tui.screens.what_if import WhatIfScreen

        values = self._values()
        try:
            request = self._request(values)
        except UsageError as error:
            self._write(str(error), "$bad")
            return
        barred = "it is launched from the dialog (escape goes back to it)"
        self.app.push_screen(WhatIfScreen(lambda sheet: estimate.of_request(request, sheet), barred=barred))

    def _values(self) -> dict[str, str]:
        return self.query_one(LaunchForm).values()

    @work(thread=True, exclusive=True, group="expect")
    def _expect(self, values: dict[str, str]) -> None:
        """What these values would train, at once; when it would end, as soon as that is known."""
        try:
            request, task = self._request(values), self._wanted(values)
            plan = planned(request, task, number_of(values, "steps"))
            place = None if task.kind else launch.place_of(request, plan)
        except UsageError as error:
            self.app.call_from_thread(self._say, values, str(error), "$bad")
            return
        head = "\n".join(filter(None, (summary(plan if place is None else place.plan), place.said if place else "")))
        if place is None:
            self.app.call_from_thread(
                self._say, values, "\n".join(filter(None, (head, disturbed(self.app)))), "$number"
            )
            return
        self.app.call_from_thread(self._say, values, f"{head}\nlooking for earlier runs of this kind …", "$label")
        try:
            ends = prospects(request, place.left)
            text = expectation(ends(plan.stop_after_runs) if ends is not None else None)
            text = "\n".join((text, *foretold(place.plan, lambda: ends, place.done)))
        except (UsageError, OSError, SubprocessError) as error:
            text = str(error)
        self.app.call_from_thread(self._say, values, f"{head}\n{text}", "$number")

    def _say(self, values: dict[str, str], text: str, style: str) -> None:
        """Below the fields; words about values that were changed meanwhile are dropped."""
        # A screen that closes leaves the stack first, then its parts go one after the other.
        if self in self.app.screen_stack and not self._starting and values == self._values():
            self._write(text, style)

    def _write(self, text: str, style: str) -> None:
        lines = [plain(line, style) for line in text.split("\n")][:6]
        for box in self.query("#expected").results(Static):
            box.update(Content("\n").join(lines))

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
            request, task = self._request(values), self._wanted(values)
            if task.kind:
                folder = trials.start(request, planned(request, task, number_of(values, "steps")))
            else:
                folder = launch.start(request)
        except Running as running:
            folder = running.folder
        except (UsageError, OSError, SubprocessError) as error:
            self.app.call_from_thread(self._failed, str(error))
            return
        self.app.call_from_thread(self.dismiss, folder)

    def _failed(self, text: str) -> None:
        self._starting = False
        if self.is_mounted:
            self._write(text, "$bad")
