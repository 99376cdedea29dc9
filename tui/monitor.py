"""The thread that looks: read, fold, work out what follows, post the newest view."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from engine.bottleneck import bottleneck
from engine.errors import UsageError
from engine.forecast import forecast
from engine.state import ExperimentState
from engine.trend import memory_trend
from tui.messages import Post, SourceFailed, StateChanged, View

# After the quick look the screen is given this long to be drawn before the whole journals are read.
DRAW_SECONDS = 0.25


class Source(Protocol):
    """An experiment that can be looked at: engine.watch.Watch, or a recording being replayed."""

    def quick(self) -> ExperimentState: ...

    def poll(self) -> ExperimentState: ...


def view_of(state: ExperimentState) -> View:
    """`state` with everything that follows from it."""
    return View(state, forecast(state), bottleneck(state), memory_trend(state.samples))


class Monitor(threading.Thread):
    """Posts a StateChanged every `interval` seconds, a SourceFailed when it cannot look."""

    def __init__(self, make: Callable[[], Source], post: Post, interval: float = 1.0) -> None:
        super().__init__(name="monitor", daemon=True)
        self.interval = interval
        self._make = make
        self._post = post
        self._wake = threading.Event()
        self._stopped = False

    def run(self) -> None:
        source: Source | None = None
        due = time.monotonic()
        while not self._stopped:
            try:
                if source is None:
                    source = self._make()
                    self._tell(source.quick())
                    self._wake.wait(DRAW_SECONDS)
                    continue
                self._wake.clear()
                self._tell(source.poll())
            except (OSError, UsageError) as error:
                self._say(str(error))
            except Exception as error:
                # A dashboard that stands still looks like a training that does: say it instead.
                self._say(f"this screen cannot work out what it read: {type(error).__name__}: {error}")
            due = max(due + self.interval, time.monotonic() + 0.05)
            self._wake.wait(due - time.monotonic())

    def _tell(self, state: ExperimentState) -> None:
        if not self._stopped:
            self._post(StateChanged(view_of(state)))

    def _say(self, text: str) -> None:
        if not self._stopped:
            self._post(SourceFailed(text))

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    def stop(self) -> None:
        """No message is posted after this; the thread ends by itself."""
        self._stopped = True
        self._wake.set()
