"""What a dashboard does for the training it shows: a new supervisor for one that lost its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.runs import launch

AGAIN_SECONDS = 10.0


class Tending:
    """Called with every state, in the thread that looks; a supervisor that cannot be started is tried again later."""

    def __init__(
        self, take_over: Callable[[Path], bool] = launch.take_over, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._take_over = take_over
        self._now = now
        self._due = 0.0

    def __call__(self, state: ExperimentState) -> None:
        if state.supervisor_alive or not state.trainer_alive or self._now() < self._due:
            return
        self._due = self._now() + AGAIN_SECONDS
        with contextlib.suppress(UsageError, OSError):
            self._take_over(Path(state.folder))
