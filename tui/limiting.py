"""The part of the application that limits a training in time or money, and that calls its user."""

from __future__ import annotations

import os
import time
from pathlib import Path

from textual import work
from textual.worker import get_current_worker

from engine.errors import UsageError
from engine.journals.limit_events import Limits
from engine.limit import asked, limits
from engine.limit.limits import Wanted
from engine.paths import ExperimentPaths
from engine.runs import control, launch
from tui import alert
from tui.asking import Asking
from tui.messages import View
from tui.profiling import ANSWER_SECONDS, BY, LOOK_SECONDS
from tui.settings import Settings
from tui.terminal import LeanDriver


class Limiting(Asking):
    """What is added: the limits of the experiment that is looked at."""

    _settings: Settings

    @property
    def used_up(self) -> bool:
        """Whether it has stopped for a limit of the user's: it goes on with another one, or without."""
        state = self.view.state if self.view is not None else None
        reached = state.reached if state is not None and state.phase == "stopped" else None
        return reached is not None and reached.kind in ("time", "deadline", "budget")

    def action_limit(self) -> None:
        from tui.screens.limit import LimitScreen

        folder, view = self.folder, self.view
        if folder is None or view is None or isinstance(self.screen, LimitScreen):
            return

        def typed(text: str | None) -> None:
            if text is not None:
                self._limit(folder, view, text)

        self.push_screen(LimitScreen(view), typed)

    @work(thread=True, exclusive=True, group="limit")
    def _limit(self, folder: Path, view: View, text: str) -> None:
        """Ask the supervisor for it; where none is, go on with it."""
        try:
            wanted = limits.typed(text)
            if self.situation.resumable:
                launch.resume(folder, wanted=wanted)
                said, kind = f"{folder.name} goes on", "information"
            else:
                said, kind = self._asked_for(folder, view, wanted)
        except (OSError, UsageError) as error:
            said, kind = str(error), "error"
        self.call_from_thread(self.say, said, kind)

    def _asked_for(self, folder: Path, view: View, wanted: Wanted | None) -> tuple[str, str]:
        paths = ExperimentPaths(folder)
        held = Limits(asked=time.time())
        if wanted is not None:
            held = asked.of_training(view.state, wanted)
        name = control.request(paths, "limit", by=BY, limits=held)
        if not view.state.supervisor_alive:
            launch.take_over(folder)
        worker, deadline = get_current_worker(), time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline and not worker.is_cancelled:
            if (answer := control.answer_to(paths, name)) is not None:
                return answer.text, "information" if answer.accepted else "error"
            time.sleep(LOOK_SECONDS)
        return "asked for; the supervisor has not answered yet", "warning"

    def call(self, before: View | None, after: View) -> None:
        """Ring for what has happened since the look before."""
        if self.situation.recording or not isinstance(self._driver, LeanDriver):
            return
        for event in alert.news(before, after):
            self._driver.ring(alert.sequence(event, os.environ, self._settings.alerts))
