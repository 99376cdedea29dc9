"""The thread that looks: read, fold, work out what follows, post the newest view."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from engine.beside import looked_at, side_by_side
from engine.diagnosis.advice import Advice, advice
from engine.diagnosis.bottleneck import bottleneck
from engine.errors import UsageError
from engine.eta.forecast import forecast
from engine.limit.allowance import allowance
from engine.live.state import ENDED, ExperimentState
from engine.memory.footprint import trend_of
from tui.messages import Post, SourceFailed, StateChanged, View

# After the quick look the screen is given this long to be drawn before the whole journals are read.
DRAW_SECONDS = 0.25
# Advice on items of varying load times is simulated, in up to 40 ms.
ADVICE_SECONDS = 10.0


class Source(Protocol):
    """An experiment that can be looked at: engine.live.watch.Watch, or a recording being replayed."""

    def quick(self) -> ExperimentState: ...

    def poll(self) -> ExperimentState: ...

    def recall(self) -> None:
        """Look what earlier experiments have left."""


def view_of(state: ExperimentState, advised: Advice | None = None) -> View:
    """`state` with everything that follows from it; `advised` as in engine.diagnosis.bottleneck."""
    expected, limits = forecast(state), bottleneck(state, advised)
    return View(state, expected, limits, trend_of(state), allowance(state), side_by_side(state, expected.run))


class Adviser:
    """Advice on the newest state, worked out anew when the profile changes and every ADVICE_SECONDS."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._due = 0.0
        self._of: tuple[object, ...] = ()
        self._advice: Advice | None = None

    def on(self, state: ExperimentState) -> Advice | None:
        run = state.run
        of = (state.current, run and (run.attempt, run.pace.warming, len(run.tested)))
        if of != self._of or self._now() >= self._due:
            self._advice, self._of, self._due = advice(state), of, self._now() + ADVICE_SECONDS
        return self._advice


class Monitor(threading.Thread):
    """Posts a StateChanged every `interval` seconds, a SourceFailed when it cannot look."""

    def __init__(
        self,
        make: Callable[[], Source],
        post: Post,
        interval: float = 1.0,
        tend: Callable[[ExperimentState], None] | None = None,
    ) -> None:
        """`tend` is called with every state that was read whole."""
        super().__init__(name="monitor", daemon=True)
        self.interval = interval
        self._make = make
        self._tend = tend
        self._post = post
        self._wake = threading.Event()
        self._stopped = False
        self._adviser = Adviser()
        self._picked: tuple[int, int, str] | None = None

    def run(self) -> None:
        source: Source | None = None
        due, recalled = time.monotonic(), ""
        while not self._stopped:
            try:
                if source is None:
                    source = self._make()
                    self._tell(source.quick())
                    self._wake.wait(DRAW_SECONDS)
                    continue
                self._wake.clear()
                state = source.poll()
                self._tell(state)
                # Once it is on the screen, and again when it has ended: then it tells something itself.
                ended = state.phase if state.phase in ENDED else "under way"
                if recalled != ended:
                    recalled = ended
                    # Journals of others may be long: beside, not before, the next look.
                    threading.Thread(target=self._recall, args=(source,), name="recall", daemon=True).start()
                if self._tend is not None and not self._stopped:
                    self._tend(state)
            except (OSError, UsageError) as error:
                self._say(str(error))
            except Exception as error:
                # A dashboard that stands still looks like a training that does: say it instead.
                self._say(f"this screen cannot work out what it read: {type(error).__name__}: {error}")
            due = max(due + self.interval, time.monotonic() + 0.05)
            self._wake.wait(due - time.monotonic())

    def _tell(self, state: ExperimentState) -> None:
        picked = self._picked
        seen = looked_at(state, picked)
        if picked is not None and self._picked == picked and (seen.run is None or seen.run.key.at != picked):
            self._picked = None  # it has ended: what begins is shown again, and it is not come back to unasked
        if not self._stopped:
            self._post(StateChanged(view_of(seen, self._adviser.on(seen))))

    def pick(self, at: tuple[int, int, str]) -> None:
        """Show this run of those under way, until it ends; now."""
        self._picked = at
        self.wake()

    def _recall(self, source: Source) -> None:
        try:
            source.recall()
        except Exception as error:
            self._say(f"what earlier experiments left cannot be read: {type(error).__name__}: {error}")

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
