"""What a supervisor has been asked for: stops and their taking back, other profiles, other limits, signals.

Requests are files (engine.runs.control); every one is answered. A limit that comes near stops like a user's "stop now".
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.config.plan import Plan
from engine.errors import UsageError
from engine.journals.events import (
    AnyRecord,
    ExperimentEnded,
    Note,
    ProfileAsked,
    RunEnded,
    RunsPutBack,
    Stop,
    StopChanged,
    SupervisorStarted,
)
from engine.journals.journal import Writer
from engine.journals.limit_events import LimitReached, Limits
from engine.journals.records import ProfileRequest
from engine.limit import limits
from engine.limit.guard import Guard
from engine.paths import ExperimentPaths, write_json
from engine.runs import control, living
from engine.runs.queue import Queue
from engine.runs.requeue import Wish, requeued, words


class Orders:
    """`plan` as it is by now. `places`: which of its runs are under way; `queue`: those that wait; `closed`: why none
    of them is begun any more. `reached`: the limit that stops it. `signalled`: a signal to this process that means
    stop now."""

    def __init__(self, paths: ExperimentPaths, plan: Plan, journal: Writer, guard: Guard, queue: Queue) -> None:
        self.paths, self.plan, self.journal, self.guard, self.queue = paths, plan, journal, guard, queue
        self.stop: Stop | None = None
        self.stop_id = ""
        self.by = ""
        self.reached: LimitReached | None = None
        self.places: tuple[int, ...] = ()
        self.closed = ""
        self.finished_here = 0
        self.signalled = ""

    @property
    def by_user(self) -> bool:
        """Whether somebody asked for the stop, now or at launch (`--stop-after-run`), rather than a limit."""
        return self.reached is None and (self.stop is not None or self.kept_promise())

    def kept_promise(self, running: int = 0) -> bool:
        """Whether as many runs are done, or are among those `running`, as the launch was to do at most."""
        return 0 < self.plan.stop_after_runs <= self.finished_here + running

    def remember(self, records: Iterable[AnyRecord]) -> None:
        """What the former supervisor had promised and done: a stop it had taken up, and the runs it had finished."""
        promised: StopChanged | None = None
        reached: LimitReached | None = None
        for record in records:
            if isinstance(record, ExperimentEnded) or (isinstance(record, SupervisorStarted) and not record.adopted):
                promised, reached, self.finished_here = None, None, 0
            elif isinstance(record, LimitReached):
                reached = record
            elif isinstance(record, StopChanged):
                promised = record if record.phase == "acknowledged" else None
                reached = reached if promised is not None else None
            elif isinstance(record, RunEnded) and record.outcome == "finished":
                self.finished_here += 1
        if promised is not None:
            self.set_stop(promised.mode, promised.id, promised.by)
            self.reached = reached

    def obey(self) -> None:
        """Take up what was asked for since the last look, and what limits demand."""
        for asked in control.pending(self.paths):
            if asked.verb == "stop_cancel":
                self._cancel(asked)
            elif asked.verb == "profile":
                self._change_profile(asked)
            elif asked.verb == "queue":
                self._change_queue(asked)
            elif asked.verb == "limit":
                self._change_limits(asked)
            elif (mode := control.STOPS.get(asked.verb)) is None:
                control.answer(self.paths, asked, False, f"unknown request {asked.verb!r}")
            elif self.stop is not None and control.RANK[mode] <= control.RANK[self.stop]:
                control.answer(self.paths, asked, True, "already asked for")
            else:
                self.set_stop(mode, asked.id, asked.by)
                control.answer(self.paths, asked, True, "acknowledged")
        if self.stop in ("now", "force"):
            return
        if self.signalled:
            self.set_stop("now", "", self.signalled)
        elif (reached := self.guard.due()) is not None:
            self.end_by(reached)

    def end_by(self, reached: LimitReached) -> None:
        """Stop now, because a limit wants it."""
        self.journal.write(reached)
        self.set_stop("now", "", f"its {reached.text}")
        self.reached = reached

    def set_stop(self, mode: Stop, name: str, by: str) -> None:
        self.stop, self.stop_id, self.by = mode, name, by
        self.journal.write(StopChanged(id=name, mode=mode, phase="acknowledged", by=by), sync=True)

    def done(self) -> None:
        """The stop has happened."""
        if self.stop is not None:
            self.journal.write(StopChanged(id=self.stop_id, mode=self.stop, phase="done"))

    def stop_due(self, running: int = 0) -> bool:
        """Whether no further run is to begin beside those that are `running`."""
        self.obey()
        return self.stop is not None or self.kept_promise(running)

    def _cancel(self, asked: control.Request) -> None:
        promised = self.plan.stop_after_runs > 0
        if self.stop is None and not promised:
            control.answer(self.paths, asked, True, "nothing was pending")
        elif self.stop == "force":
            control.answer(self.paths, asked, False, "already ended by force; `steptop resume` goes on with it")
        elif self.reached is not None:
            said = f"it stops for its {self.reached.text}; `steptop limit` gives it another one, or none"
            control.answer(self.paths, asked, False, said)
        else:
            if promised:  # at launch, with --stop-after-run: it is taken back with the rest
                self.plan = msgspec.structs.replace(self.plan, stop_after_runs=0)
                write_json(self.paths.plan, self.plan)
            self._take_back(asked.by)
            control.answer(self.paths, asked, True, "cancelled")

    def _take_back(self, by: str) -> None:
        mode = self.stop or "after_run"
        self.journal.write(StopChanged(id=self.stop_id, mode=mode, phase="cancelled", by=by), sync=True)
        self.stop, self.reached = None, None

    def _change_limits(self, asked: control.Request) -> None:
        """From now on, and after a resume. A stop for a limit that no longer holds is taken back."""
        wanted = asked.limits if asked.limits is not None else Limits()
        if self.plan.test is not None:
            control.answer(self.paths, asked, False, "a test of profiles is short: it takes no limits")
            return
        if why := self.guard.change(wanted, asked.id, asked.by):
            control.answer(self.paths, asked, False, why)
            return
        self.plan = self.guard.plan = msgspec.structs.replace(self.plan, limits=wanted)
        write_json(self.paths.plan, self.plan)
        if self.reached is not None and self.guard.due() is None:
            self._take_back(asked.by)
        first = self.guard.first()
        ends = f"ends by {limits.clock(first.at)} at the latest ({first.inner})" if first is not None else ""
        control.answer(self.paths, asked, True, ends or "no limit now")

    def _change_queue(self, asked: control.Request) -> None:
        """Another order for what waits. Finished runs and those under way stay; one that has failed for good waits
        again where it is named."""
        if self.closed:
            after = "nothing more is started; once that is mended, `steptop resume` goes on with what is left"
            control.answer(self.paths, asked, False, f"{self.closed}: {after}")
            return
        running = {self.plan.runs[place].at for place in self.places}
        done = {key.at for key in self.plan.runs if self.paths.run(*key.at).results.exists()}
        before, waited = self.plan.runs, self.queue.waiting
        try:
            runs, waiting = requeued(self.plan, running | done, asked.queue or Wish(), [key.at for key in waited])
        except UsageError as error:
            control.answer(self.paths, asked, False, str(error))
            return
        for key in runs:
            run = self.paths.run(*key.at)
            run.folder.mkdir(mode=0o700, exist_ok=True)
            run.console.touch(mode=0o600)
        self.plan = self.guard.plan = msgspec.structs.replace(self.plan, runs=runs)
        self.places = tuple(place for place, key in enumerate(runs) if key.at in running)
        write_json(self.paths.plan, self.plan)
        # Of those with results the supervisor still looks whether they are this configuration's.
        self.queue.follow((*(key for key in waited if key.at in running | done), *waiting), runs)
        fewer = [words(key.at) for key in before if key not in runs]
        more = [words(key.at) for key in runs if key not in before]
        said = [f"left out: {', '.join(fewer)}"] if fewer else []
        said += [f"added: {', '.join(more)}"] if more else []
        again = tuple(key.at for key in waiting if key in before and key not in waited)
        if again:
            self.journal.write(RunsPutBack(runs=again))
            said.append(f"to be tried again: {', '.join(map(words, again))}")
        rest = [words(key.at) for key in waiting]
        said.append(f"next: {', '.join(rest[:3])}" if rest else "nothing waits")
        text = "; ".join(said)
        self.journal.write(Note(text=f"another order of runs, by {asked.by or 'somebody'}: {text}"), sync=True)
        control.answer(self.paths, asked, True, text)

    def _change_profile(self, asked: control.Request) -> None:
        """Into the plan for the runs to come, and into the folder of the one under way, whose trainer looks there."""
        why = living.refusal(self.plan, asked)
        if self.plan.test is not None:
            why = "a test of profiles goes through its own"
        why = why or living.beyond(self.plan, asked, self.paths.folder)
        if why:
            control.answer(self.paths, asked, False, why)
            return
        self.plan = living.with_profile(self.plan, asked)
        write_json(self.paths.plan, self.plan)
        profile = self.plan.profile
        self.journal.write(ProfileAsked(id=asked.id, name=profile.name, knobs=profile.knobs, by=asked.by), sync=True)
        for place in self.places:
            run = self.paths.run(*self.plan.runs[place].at)
            write_json(run.profile, ProfileRequest(id=asked.id, name=profile.name, knobs=profile.knobs))
        control.answer(self.paths, asked, True, "acknowledged")
