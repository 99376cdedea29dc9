"""What a supervisor does all the time while trainers go on: orders, limits, readings of the machine, room on disk."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.plan import Plan
from engine.journals.events import Note
from engine.journals.journal import Writer
from engine.limit.guard import Guard
from engine.machine import room
from engine.paths import ExperimentPaths
from engine.process import descendants, holding
from engine.runs.attempt import Attempt, Ended
from engine.runs.ending import with_limit
from engine.runs.orders import Orders
from engine.runs.queue import Queue
from engine.runs.sampling import Sampling
from engine.runs.slots import Slots

POLL_SECONDS = 0.2


class Oversight:
    """Of what goes on in `slots`, and of the attempts that need no slot. `close` ends the sampler."""

    def __init__(self, paths: ExperimentPaths, plan: Plan, journal: Writer, queue: Queue, slots: Slots) -> None:
        self.journal = journal
        self.slots = slots
        self.guard = Guard(paths, plan, journal)
        self.orders = Orders(paths, plan, journal, self.guard, queue)
        self.sampling = Sampling(paths.folder)
        self.room = room.Room(paths.folder)

    def follow(self, attempt: Attempt) -> Ended:
        """Wait for the attempt's end, obeying requests meanwhile."""
        while not attempt.ended():
            self.turn((attempt,))
            attempt.wait(POLL_SECONDS)
        return self.closed(attempt)

    def turn(self, attempts: Sequence[Attempt]) -> None:
        """What is done all the time while `attempts` go on."""
        self.orders.obey()
        if self.orders.stop in ("now", "force"):
            for attempt in attempts:
                attempt.ask_to_stop(self.orders.stop)
        self.sampling.keep()
        self.guard.look()
        if self.room.has_filled_up():
            self.journal.write(Note(text=room.GOES_ON, level="bad"))

    def conducting(self, trial: Attempt | None) -> bool:
        """What is done while a test goes on; whether the test is to end. `trial` None: between two visits, where a stop
        after this run takes effect too."""
        self.orders.obey()
        stop = self.orders.stop
        if trial is not None and stop in ("now", "force"):
            trial.ask_to_stop(stop)
        self.sampling.keep()
        return stop is not None and (trial is None or stop != "after_run")

    def closed(self, attempt: Attempt) -> Ended:
        """How an attempt ended that has, and what is left of it."""
        self.orders.obey()
        ended = attempt.close(self.kept)
        return ended._replace(verdict=with_limit(ended.verdict, self.orders.reached))

    def kept(self) -> set[int]:
        """Own children that are none of a trainer's, and all of the trainers under way."""
        beside = {
            pid
            for attempt in self.slots.attempts()
            for pid in (*holding(attempt.info.token), attempt.who.pid, *descendants(attempt.who.pid))
        }
        return self.guard.pids() | beside | self.sampling.pids

    def close(self) -> None:
        self.sampling.close()
