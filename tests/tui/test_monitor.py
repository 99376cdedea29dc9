"""The thread that looks: quick first, then again and again, and never silent about why it cannot."""

from __future__ import annotations

import threading
import time

import msgspec
from textual.message import Message

from engine.errors import UsageError
from engine.live.state import ExperimentState
from tests.conftest import wait_until
from tests.tui.conftest import Held, view
from tui.messages import SourceFailed, StateChanged
from tui.monitor import Monitor


def test_the_quick_look_is_posted_first_and_polls_follow(arc: ExperimentState) -> None:
    class Source(Held):
        def quick(self) -> ExperimentState:
            return msgspec.structs.replace(self.state, partial=True)

    posted: list[Message] = []
    monitor = Monitor(lambda: Source(arc), posted.append, interval=0.25)
    monitor.start()
    wait_until(lambda: len(posted) >= 3)
    monitor.stop()
    partial = [message.view.state.partial for message in posted if isinstance(message, StateChanged)]
    assert partial[:3] == [True, False, False]


def test_what_cannot_be_read_is_said_and_tried_again(arc: ExperimentState) -> None:
    tries: list[int] = []

    def make() -> Held:
        tries.append(1)
        if len(tries) < 3:
            raise UsageError("it has no readable plan.json")
        return Held(arc)

    posted: list[Message] = []
    monitor = Monitor(make, posted.append, interval=0.05)
    monitor.start()
    wait_until(lambda: any(isinstance(message, StateChanged) for message in posted))
    monitor.stop()
    assert [m.text for m in posted if isinstance(m, SourceFailed)][:2] == ["it has no readable plan.json"] * 2


def test_a_mistake_of_ours_is_shown_and_not_hidden(arc: ExperimentState) -> None:
    class Broken(Held):
        def poll(self) -> ExperimentState:
            raise ZeroDivisionError("no steps")

    posted: list[Message] = []
    monitor = Monitor(lambda: Broken(arc), posted.append, interval=0.05)
    monitor.start()
    wait_until(lambda: any(isinstance(message, SourceFailed) for message in posted))
    monitor.stop()
    assert any("ZeroDivisionError: no steps" in m.text for m in posted if isinstance(m, SourceFailed))


def test_after_stop_nothing_is_posted(arc: ExperimentState) -> None:
    polled = threading.Event()

    class Slow(Held):
        def poll(self) -> ExperimentState:
            polled.set()
            time.sleep(0.2)
            return self.state

    posted: list[Message] = []
    monitor = Monitor(lambda: Slow(arc), posted.append, interval=0.01)
    monitor.start()
    assert polled.wait(5)
    monitor.stop()
    seen = len(posted)
    monitor.join(5)
    assert not monitor.is_alive()
    assert len(posted) == seen


def test_the_newest_view_replaces_one_that_waits(arc: ExperimentState) -> None:
    message, failed = StateChanged(view(arc)), SourceFailed("gone")
    assert message.can_replace(StateChanged(view(arc)))
    assert not message.can_replace(failed)
    assert failed.can_replace(SourceFailed("still gone"))


def test_waking_looks_at_once(arc: ExperimentState) -> None:
    posted: list[Message] = []
    monitor = Monitor(lambda: Held(arc), posted.append, interval=60.0)
    monitor.start()
    wait_until(lambda: len(posted) >= 2)
    monitor.wake()
    wait_until(lambda: len(posted) >= 3)
    monitor.stop()
    monitor.join(5)
