"""The part of the application that changes, compares and tests profiles: its screens, and requests for a profile."""

from __future__ import annotations

import time
from pathlib import Path
from subprocess import SubprocessError
from typing import TYPE_CHECKING

import msgspec
from textual import work
from textual.app import App
from textual.reactive import reactive
from textual.worker import get_current_worker

from engine.config.knob import Value
from engine.config.plan import Plan
from engine.errors import UsageError
from engine.paths import ExperimentPaths
from engine.phase import trials
from engine.runs import control, launch
from engine.runs.launch import Request
from tui.messages import ApplyProfile, Asked, View

if TYPE_CHECKING:
    from tui.actions import Situation
    from tui.draft import Draft
    from tui.screens.phases import PhasesScreen

BY = "the dashboard"
TEST_ALL = "test all profiles, in turns"
# The supervisor looks five times a second; one that has not answered by then may be on a slow disk, and does later.
ANSWER_SECONDS, LOOK_SECONDS = 15.0, 0.1


def settings_for(plan: Plan, knobs: dict[str, Value]) -> dict[str, Value]:
    """What must be set on top of the experiment's own profile to train with `knobs`."""
    try:
        own = launch.plan_for(Request(experiment=plan.experiment_name, logs=Path(), data=Path(plan.data_dir or ".")))
    except UsageError:
        return knobs
    held = own.profile.knobs
    return {name: value for name, value in knobs.items() if value != held.get(name, value)}


def device_words(plan: Plan) -> str:
    """As the launch dialog takes it."""
    return "" if plan.device == "auto" else plan.device


class Profiling(App[None]):
    """What SteptopApp adds is which experiment is looked at; this is what is done with its profiles."""

    view: reactive[View | None] = reactive(None, repaint=False, init=False, always_update=True)
    asked: reactive[Asked | None] = reactive(None, repaint=False, init=False)
    folder: Path | None
    logs: Path
    _drafts: dict[Path, Draft]

    @property
    def situation(self) -> Situation:
        raise NotImplementedError

    # ------------------------------------------------------------ screens

    def action_profile(self) -> None:
        from tui.screens.editor import EditorScreen

        folder, view = self.folder, self.view
        if folder is None or view is None or isinstance(self.screen, EditorScreen):
            return
        drafts = self.__dict__.setdefault("_drafts", {})
        editor = EditorScreen(
            view.state.plan,
            self.logs,
            draft=drafts.get(folder),
            recording=self.situation.recording,
            readonly=self.situation.readonly,
        )

        def left(draft: Draft | None) -> None:
            if draft is not None:
                drafts[folder] = draft

        self.push_screen(editor.data_bind(Profiling.view, Profiling.asked), left)

    def action_phases(self) -> None:
        from tui.screens.phases import PhasesScreen

        if self.view is None or isinstance(self.screen, PhasesScreen):
            return
        screen = PhasesScreen(self.logs, recording=self.situation.recording, readonly=self.situation.readonly)
        self.push_screen(screen.data_bind(Profiling.view, Profiling.asked))

    def action_next_phase(self) -> None:
        """Shown before it is done: the comparison says what the next profile is and what is expected of it."""
        self.action_phases()

    def action_test_profiles(self) -> None:
        """The launch dialog with this experiment, and a test of its profiles chosen."""
        from tui.launching import Preset
        from tui.screens.launch import LaunchScreen

        if self.view is None or isinstance(self.screen, LaunchScreen):
            return
        plan = self.view.state.plan
        preset = Preset(plan.experiment_name, data=plan.data_dir, device=device_words(plan), task=TEST_ALL)
        self.push_screen(LaunchScreen(self.logs, preset), self.launched)

    def on_phases_screen_launch(self, message: PhasesScreen.Launch) -> None:
        """Train with what a test found, or test the same once more."""
        from tui.launching import Preset
        from tui.screens.launch import LaunchScreen

        plan = message.plan
        if message.knobs is None:
            self.again(plan)
            return
        settings = settings_for(plan, message.knobs)
        preset = Preset(plan.experiment_name, data=plan.data_dir, device=device_words(plan), settings=settings)
        self.push_screen(LaunchScreen(self.logs, preset), self.launched)

    @work(thread=True, exclusive=True, group="again")
    def again(self, plan: Plan) -> None:
        """The same test, in a folder of its own."""
        fresh = msgspec.structs.replace(plan, created=time.time())
        try:
            folder = trials.start(Request(experiment=plan.experiment_name, logs=self.logs), fresh)
        except (UsageError, OSError, SubprocessError) as error:
            self.call_from_thread(self.say, str(error), "error")
            return
        self.call_from_thread(self.launched, folder)

    def launched(self, folder: Path | None) -> None:
        """What was launched is looked at."""
        raise NotImplementedError

    def say(self, text: str, severity: str = "information") -> None:
        """A short notice."""
        raise NotImplementedError

    # ------------------------------------------------------------ requests

    def on_apply_profile(self, message: ApplyProfile) -> None:
        if self.folder is not None and self.view is not None:
            self.asked = Asked(message.name)
            self._request(self.folder, message, not self.view.state.supervisor_alive)

    @work(thread=True, exclusive=True, group="profile")
    def _request(self, folder: Path, message: ApplyProfile, unsupervised: bool) -> None:
        """Leave the request, then wait for its answer; the trainer's own comes with the states."""
        paths = ExperimentPaths(folder)
        try:
            name = control.request(
                paths, "profile", by=BY, profile=message.name, knobs=message.knobs, override=message.override
            )
            if unsupervised:
                launch.take_over(folder)
        except (OSError, UsageError) as error:
            self.call_from_thread(self._answered, folder, Asked(message.name, failed=str(error)))
            return
        self.call_from_thread(self._answered, folder, Asked(message.name, name))
        worker, deadline = get_current_worker(), time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline and not worker.is_cancelled:
            if (answer := control.answer_to(paths, name)) is not None:
                self.call_from_thread(self._answered, folder, Asked(message.name, name, answer))
                return
            time.sleep(LOOK_SECONDS)

    def _answered(self, folder: Path, asked: Asked) -> None:
        if self.folder == folder:
            self.asked = asked
