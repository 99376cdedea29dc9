"""The part of the application that chooses which of several runs under way the panels show."""

from __future__ import annotations

from tui.messages import RunPicked, View
from tui.stopping import Stopping


class Picking(Stopping):
    """What is added: going from one run to the next. The choice is this screen's alone: no training hears of it."""

    # Asked for, and not on the screen yet.
    _picked_run: tuple[int, int, str] | None = None

    def action_next_run(self) -> None:
        self._turn_runs(1)

    def action_previous_run(self) -> None:
        self._turn_runs(-1)

    def _turn_runs(self, step: int) -> None:
        """To the neighbour of the run that was asked for last: a key may be pressed twice before the next look."""
        state = self.view.state if self.view is not None else None
        if state is None or len(state.under_way) < 2:
            return
        names = [state.runs[place].key.at for place in state.under_way]
        shown = state.run.key.at if state.run is not None else None
        here = self._picked_run if self._picked_run in names else shown
        at = names.index(here) if here in names else -step
        self._pick_run(names[(at + step) % len(names)])

    def on_run_picked(self, message: RunPicked) -> None:
        self._pick_run(message.at)

    def _pick_run(self, at: tuple[int, int, str]) -> None:
        self._picked_run = at
        if self._monitor is not None:
            self._monitor.pick(at)

    def run_is_shown(self, view: View) -> None:
        """What was asked for is on the screen."""
        if view.state.run is not None and view.state.run.key.at == self._picked_run:
            self._picked_run = None
