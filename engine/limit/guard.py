"""What a supervisor keeps an eye on: limits that must be kept in time, and what the user wants to be told of.

Limits are kept by the monotonic clock and the journal: a supervisor that takes over goes on counting where the former
one stopped. The state is looked at every few seconds only, what is left of a limit at every turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from engine.config.plan import Plan
from engine.journals.events import Note
from engine.journals.journal import Writer, read
from engine.journals.limit_events import LimitReached, Limits, LimitSet, Session
from engine.limit import limits, notify, platforms
from engine.limit.allowance import Allowance, allowance
from engine.limit.ends import one_more
from engine.limit.limits import Due
from engine.limit.notify import Event, Notifier
from engine.live.slowdowns import Key, slowdowns
from engine.live.state import ExperimentState, RunState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.runs.spending import last_limit, reckoned

T = TypeVar("T")

LOOK_SECONDS = 5.0
# The last of a short limit is looked at more often: every so many of its seconds.
LOOKS, QUICKEST_SECONDS = 20.0, 0.5
# A stop takes a step, a checkpoint and the end of a process, and they vary.
SAFETY = 1.5
# The end of a process, before one was seen: with torch and a loader's workers 0.5–5 s, on two busy cores.
CLOSING_SECONDS, OWN_CLOSING_SECONDS = 1.0, 6.0
LEAST_CLOSING_SECONDS = 0.5
# Before a step has been measured: so much of what is left, at most so long.
UNMEASURED, UNMEASURED_SECONDS = 0.1, 60.0
# Weights and two moments of each, in fp32, to a slow disk: a checkpoint before the first was written.
PARAMETER_BYTES, DISK_BYTES_PER_SECOND = 12.0, 50e6
# A run that will not be done is begun where there is at least so many times what a stop of it takes.
LEAST = 2.0
# The same is said again after this long at the earliest.
AGAIN_SECONDS = 3600.0


class Guard:
    """Of one experiment, in its supervisor."""

    def __init__(
        self,
        paths: ExperimentPaths,
        plan: Plan,
        journal: Writer,
        session: Callable[[float | None], Session | None] = platforms.here,
        look: Callable[[], ExperimentState] | None = None,
    ) -> None:
        """`session`: what the platform allows; `look`: the present state."""
        self.paths, self.plan, self.journal = paths, plan, journal
        self.record: LimitSet | None = None
        self.notifier = Notifier(paths.folder)
        self._session = session
        self._look = look
        self._due_look = 0.0
        self._needed: float | None = None
        self._failed = False
        self._fits: int | None = None
        self._stalled = False
        self._told: set[Key] | None = None
        self._last_told: dict[Event, float] = {}

    # ------------------------------------------------------------ what holds

    def begin(self) -> None:
        """Once what a former supervisor left is written down: go on counting, or begin to."""
        records = read(self.paths.events)
        former = last_limit(records)
        session = self._safely(lambda: self._session(self.plan.limits.session_seconds))
        limited_before = former is not None and (former.limits.any or former.session is not None)
        if limited_before or session is not None or self.plan.limits.any:
            self._set(reckoned(records, self.plan.limits, time.monotonic()), session)

    def change(self, wanted: Limits, name: str, by: str) -> str:
        """Other limits from now on, as asked for with request `name`; why not, where that is so."""
        record = reckoned(read(self.paths.events), wanted, time.monotonic())
        if why := limits.used_up(record, record.t, 0.0):
            return why
        session = self._safely(lambda: self._session(wanted.session_seconds))
        self._set(msgspec.structs.replace(record, id=name, by=by), session)
        return ""

    def _set(self, record: LimitSet, session: Session | None) -> None:
        self.record = msgspec.structs.replace(record, session=session)
        self.journal.write(self.record, sync=True)
        self._fits, self._due_look = None, 0.0

    def pids(self) -> set[int]:
        """Own children that are none of a trainer's."""
        return self.notifier.pids()

    # ------------------------------------------------------------ when it must stop

    def first(self) -> Due | None:
        """The limit that comes first."""
        if self.record is None:
            return None
        found = limits.dues(self.record, time.time(), max(0.0, time.monotonic() - self.record.m))
        return found[0] if found else None

    def due(self) -> LimitReached | None:
        """The limit that is near enough to stop now."""
        first = self.first()
        if first is None:
            return None
        needed = self.needed(first)
        if first.seconds > needed:
            return None
        return LimitReached(kind=first.kind, text=first.text, left=first.seconds, needed=needed)

    def needed(self, first: Due) -> float:
        """Seconds from asking the trainer to stop until it has: its step, a checkpoint and its process's end."""
        if self._needed is not None:
            return self._needed
        whole = self._whole(first)
        return min(UNMEASURED * whole, UNMEASURED_SECONDS)

    def _whole(self, first: Due) -> float:
        """How long the limit that comes first was when it was set."""
        assert self.record is not None
        return max(0.0, first.seconds + time.monotonic() - self.record.m)

    def unfit(self, number: int) -> LimitReached | None:
        """Why run `number` (from 1) is not begun: it surely ends too late and cannot be gone on with, or there is no
        time for anything of it."""
        first = self.first()
        if first is None:
            return None
        needed = self._safely(lambda: one_more(self._read()).low)
        if needed is not None and needed <= first.seconds:
            return None
        refused = LimitReached(
            kind=first.kind, text=first.text, left=first.seconds, needed=needed or 0.0, begun=False
        )
        if first.seconds <= LEAST * self.needed(first):
            return refused
        if needed is None:
            return None
        partial = self.plan.limits.partial if self.record is None else self.record.limits.partial
        if not (self.plan.experiment.command == () if partial is None else partial):
            return refused
        text = f"run {number} will not be done by its {first.text}: it trains until then, and goes on after a resume"
        self.journal.write(Note(text=text, level="warn"))
        return None

    # ------------------------------------------------------------ looking

    def look(self) -> None:
        """From time to time: what a stop would need, what fits, and what the user wants to know."""
        for failed in self.notifier.failures():
            self.journal.write(failed)
        now = time.monotonic()
        if now < self._due_look:
            return
        first = self.first()
        pause = LOOK_SECONDS if first is None else min(LOOK_SECONDS, max(QUICKEST_SECONDS, first.seconds / LOOKS))
        self._due_look = now + pause
        if self.record is not None or self.notifier.wanted:
            self._safely(lambda: self._news(self._read(), first))

    def _news(self, state: ExperimentState, first: Due | None) -> None:
        self._needed = stop_seconds(state) or self._needed
        self._tell_stall(state)
        self._tell_drift(state)
        if first is not None and state.plan.test is None:
            self._tell_risk(state, allowance(state))

    def _read(self) -> ExperimentState:
        if self._look is None:
            self._look = Watch(self.paths.folder).poll
        return self._look()

    def _safely(self, work: Callable[[], T]) -> T | None:
        """What is foretold must not end what it is about: an error is said once, and the limits hold without it."""
        try:
            return work()
        except Exception as error:
            if not self._failed:
                self._failed = True
                text = f"what fits into its limits cannot be told: {type(error).__name__}: {error}"
                self.journal.write(Note(text=text, level="warn"))
            return None

    def _tell_stall(self, state: ExperimentState) -> None:
        stalled = state.stalled_seconds > 0
        if stalled and not self._stalled:
            self.tell("stalled", state, f"nothing new for {limits.span(state.stalled_seconds)}: it may hang")
        self._stalled = stalled

    def _tell_drift(self, state: ExperimentState) -> None:
        """What became slower since the look before. What was so at the first look is no news."""
        found = slowdowns(state.run) if state.run is not None else {}
        if self._told is not None:
            for key in found.keys() - self._told:
                self.tell("drift", state, found[key])
        self._told = set(found) | (self._told or set())

    def _tell_risk(self, state: ExperimentState, allowed: Allowance | None) -> None:
        """Not all runs fit, when that is first known; later, fewer than did before."""
        fit = allowed.fit if allowed is not None else None
        if allowed is None or fit is None or (state.run is not None and state.run.pace.warming):
            return
        before = self._fits
        if before is not None and fit.runs >= before:
            self._fits = max(before, fit.surely)
            return
        self._fits = fit.runs
        if before is None and fit.runs == fit.total:
            return
        text = f"its {allowed.first.text} is at risk: {fit.text}"
        text += f"; {before} did before" if before is not None else ""
        self.journal.write(Note(text=text, level="warn"))
        self.tell("at_risk", state, text)

    def tell(self, event: Event, state: ExperimentState, text: str) -> None:
        """To the webhooks; the same kind of news once an hour."""
        now = time.monotonic()
        if now - self._last_told.get(event, float("-inf")) < AGAIN_SECONDS and event in ("drift", "at_risk"):
            return
        self._last_told[event] = now
        self.notifier.send(notify.message(event, state.plan.name, state.phase, text))


def stop_seconds(state: ExperimentState) -> float | None:
    """Seconds that a stop may take, from what was measured: as long as the slowest of the runs that go on. None before
    a step has ended."""
    shown = [state.run] if state.run is not None else []
    going = [run for run in ([state.runs[place] for place in state.under_way] or shown) if run.recent]
    if not going:
        return None
    return max(SAFETY * _until_stopped(state, run) for run in going) + _closing(state)


def _until_stopped(state: ExperimentState, run: RunState) -> float:
    """Its step, one volume of what it scores, and a checkpoint."""
    return max(record.high for record in run.recent) + _checkpoint(state, run) + _item(state, run)


def _closing(state: ExperimentState) -> float:
    """From a trainer's last line to its process's end: the slowest that was seen."""
    seen = [
        run.ended_monotonic - run.last_monotonic
        for run in state.runs
        if run.phase in ("finished", "stopped") and run.ended_monotonic > run.last_monotonic > 0
    ]
    if seen:
        return max(LEAST_CLOSING_SECONDS, SAFETY * max(seen))
    return CLOSING_SECONDS if state.plan.experiment.command else OWN_CLOSING_SECONDS


def _checkpoint(state: ExperimentState, run: RunState) -> float:
    """The slowest of the last ones of all runs; before the first one, from the number of parameters."""
    seen = [r.checkpoint.seconds for r in state.runs if r.checkpoint is not None and not r.checkpoint.error]
    parameters = run.begin.parameters if run.begin is not None else 0
    return max(seen) if seen else parameters * PARAMETER_BYTES / DISK_BYTES_PER_SECOND


def _item(state: ExperimentState, run: RunState) -> float:
    """One volume of the validation or test under way: a stop waits for it."""
    part = run.parts.get(run.activity)
    if part is not None and part.items:
        return part.seconds / part.items
    busy = max(0.0, state.now - run.activity_since) if run.activity and run.activity_since else 0.0
    return busy / run.activity_done if run.activity_done else 0.0
