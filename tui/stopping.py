"""The part of the application that stops trainings and goes on with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from engine.errors import UsageError
from engine.paths import ExperimentPaths
from engine.runs import control, launch
from engine.runs.control import Verb
from tui.limiting import Limiting
from tui.profiling import BY
from tui.words import runs_stopped_here

if TYPE_CHECKING:
    from tui.monitor import Monitor


class Stopping(Limiting):
    """What is added: the three stops, and resuming."""

    _monitor: Monitor | None

    def action_stop_after_run(self) -> None:
        if self.view is not None:
            cancel = runs_stopped_here(self.view.state)
            self._ask("stop_cancel" if cancel else "stop_after_run")

    def action_stop_now(self) -> None:
        from tui.screens.confirm import Confirm, stop_now_question

        if self.view is not None:
            self.push_screen(Confirm(stop_now_question(self.view)), self._confirmed("stop_now"))

    def action_stop_force(self) -> None:
        from tui.screens.confirm import Confirm, force_question

        if self.view is not None:
            self.push_screen(Confirm(force_question(self.view)), self._confirmed("stop_force"))

    def _confirmed(self, verb: Verb) -> Callable[[bool | None], None]:
        def confirmed(yes: bool | None) -> None:
            if yes:
                self._ask(verb)

        return confirmed

    def _ask(self, verb: Verb) -> None:
        if self.folder is not None and self.view is not None:
            self._leave_request(self.folder, verb, not self.view.state.supervisor_alive)

    @work(thread=True)
    def _leave_request(self, folder: Path, verb: Verb, unsupervised: bool) -> None:
        """Leave the request; the supervisor's answer comes back with the next states."""
        try:
            control.request(ExperimentPaths(folder), verb, by=BY)
            if unsupervised:
                launch.take_over(folder)
        except (OSError, UsageError) as error:
            self.call_from_thread(self.say, f"the request could not be left: {error}", "error")
        if self._monitor is not None:
            self._monitor.wake()

    def action_resume(self) -> None:
        if self.used_up:
            self.action_limit()
        elif self.folder is not None:
            self.say(f"{self.folder.name}: resuming …")
            self._resume(self.folder)

    @work(thread=True, exclusive=True, group="resume")
    def _resume(self, folder: Path) -> None:
        try:
            if not launch.take_over(folder):
                launch.resume(folder)
        except (OSError, UsageError) as error:
            self.call_from_thread(self.say, str(error), "error")
        if self._monitor is not None:
            self._monitor.wake()
