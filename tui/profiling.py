"""The part of the application that changes, compares and tests profiles: its screens, and requests for a profile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import App
from textual.reactive import reactive
from textual.worker import get_current_worker

from engine import control, launch
from engine.errors import UsageError
from engine.paths import ExperimentPaths
from tui.messages import ApplyProfile, Asked, View

if TYPE_CHECKING:
    from tui.actions import Situation
    from tui.draft import Draft

BY = "the dashboard"
# The supervisor looks five times a second; one that has not answered by then may be on a slow disk, and does later.
ANSWER_SECONDS, LOOK_SECONDS = 15.0, 0.1


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
