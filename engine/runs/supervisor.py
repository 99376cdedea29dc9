"""One per experiment: `python -m engine.runs.supervisor FOLDER`. Queues runs, starts trainers, obeys, tells their end.

It holds the experiment's lock for as long as it lives, adopts every orphan of its trainers (subreaper) and ends what
a trainer leaves behind. It is detached: no terminal, no pipe to anybody. If it is killed its trainer goes on, and the
next supervisor takes that trainer over.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path

from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.run_keys import RunKey
from engine.counts import plural
from engine.journals import journal as journals
from engine.journals.events import (
    ExperimentEnded,
    Note,
    Outcome,
    PrepareEnded,
    PrepareStarted,
    RunsGivenUp,
    RunSkipped,
    RunStarted,
    SupervisorStarted,
    Verdict,
)
from engine.journals.journal import Writer
from engine.journals.records import Completion, SupervisorInfo
from engine.limit import notify, on_finish
from engine.machine import logout, room
from engine.machine.cores import machine
from engine.machine.device_preview import processor
from engine.machine.lock import take_lock
from engine.paths import ExperimentPaths, read_json, write_json
from engine.phase import phases
from engine.phase.conductor import Conductor
from engine.process import boot_id, ident
from engine.runs.attempt import Attempt, adopt, begin_prepare, begin_run, end_strays, unfinished, wait
from engine.runs.completion import completed
from engine.runs.devices import device_of
from engine.runs.ending import Result, ending
from engine.runs.manifest import with_data_hash
from engine.runs.oversight import POLL_SECONDS, Oversight
from engine.runs.queue import FAILURES_IN_A_ROW, Queue
from engine.runs.slots import Slots, environment
from engine.runs.survivors import left_of

LOCKED = 75
PR_SET_CHILD_SUBREAPER = 36
# Slurm warns with SIGUSR1 where it is asked to (`--signal=USR1@300`), and ends a job with SIGTERM.
STOPPING = {signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1, a warning that the time is nearly over"}


class Supervisor:
    """The queue of one experiment. `run` returns how it all ended."""

    def __init__(self, paths: ExperimentPaths, plan: Plan, journal: Writer) -> None:
        self.paths = paths
        self.journal = journal
        self.slots = Slots(plan.slots)
        self.queue = Queue(plan.runs, plan.retries)
        self.oversight = Oversight(paths, plan, journal, self.queue, self.slots)
        self.guard = self.oversight.guard
        self.orders = self.oversight.orders
        self.last: Verdict | None = None
        self.verdicts: dict[RunKey, Verdict] = {}
        self.survivors: tuple[int, ...] = ()
        self.full = False

    @property
    def plan(self) -> Plan:
        """As it is by now."""
        return self.orders.plan

    # ------------------------------------------------------------ the order of things

    def run(self) -> Outcome:
        for number in STOPPING:
            signal.signal(number, self._on_signal)
        self.journal.reserve(room.LAST_WORDS_BYTES)
        # A test's trial is thrown away anyway: its journal lacks the visit that was under way.
        adopted = adopt(self.paths, self.plan) if self.plan.test is None else []
        for key, attempt in adopted:
            self.queue.began(key)
            self.slots.begin(key, attempt.info.slot, attempt)
        self._place()
        strays = end_strays(self.paths, [attempt for _, attempt in adopted])
        self.journal.write(
            SupervisorStarted(
                pid=os.getpid(),
                host=socket.gethostname(),
                boot_id=boot_id(),
                runs=tuple((key.fold, key.restart) for key in self.plan.runs),
                variants=tuple(key.variant for key in self.plan.runs) if self.plan.experiment.variants else (),
                stop_after_runs=self.plan.stop_after_runs,
                adopted=adopted[0][1].who.pid if adopted else 0,
                processor=processor(),
                cores=machine().cores,
            ),
            sync=True,
        )
        # Only now is it announced: who waits for it will not read the former supervisor's last line as this one's.
        who = ident(os.getpid())
        assert who is not None
        write_json(self.paths.supervisor, SupervisorInfo(who=who, started=time.time()))
        if strays:
            self._note(f"{plural(strays, 'left-over process')} of an earlier supervisor ended", "warn")
        if adopted:
            self.orders.remember(journals.read(self.paths.events))
        if killing := logout.warning():
            self._note(killing, "warn")
        for key, attempt in unfinished(self.paths, self.plan):
            self._over(key, attempt)
        self.guard.begin()
        # Trainers under way have their volumes.
        if not adopted and not self.plan.experiment.command and not self._prepare():
            return "stopped" if self.orders.stop else "failed"
        if self.plan.test is not None:
            return self._test()
        self._see_to_runs()
        return self._end()

    def _see_to_runs(self) -> None:
        """Start what waits as slots are free, and see each through, until nothing runs and nothing more may begin."""
        while True:
            self._fill()
            if not self.slots.running:
                return
            self.oversight.turn(self.slots.attempts())
            wait(self.slots.attempts(), POLL_SECONDS)
            for key, _, attempt in self.slots.ended():
                self._take(key, attempt)

    def _fill(self) -> None:
        """Begin the runs that may begin now."""
        self._place()
        while self._ready() and (slot := self.slots.free()) is not None:
            # What is asked for may be another order, after which nothing need wait any more.
            if self.orders.stop_due(len(self.slots.running)) or not self._ready():
                return
            key = self.queue.next(self._held())
            if self._complete(key):
                continue
            if (reached := self.guard.unfit(self.plan.runs.index(key) + 1)) is not None:
                self.queue.put_back(key)
                if not self.slots.running:
                    self.orders.end_by(reached)
                return
            attempt = begin_run(self.paths, self.plan, key, environment(self.plan, slot), slot)
            self.slots.begin(key, slot, attempt)
            self._place()
            self.journal.write(
                RunStarted(
                    fold=key.fold, restart=key.restart, attempt=attempt.number, pid=attempt.who.pid,
                    device=device_of(self.plan, slot), variant=key.variant, slot=slot,
                ),
                sync=True,
            )

    def _place(self) -> None:
        """Tell orders what is under way: an order that comes meanwhile leaves it where it is."""
        self.orders.places = tuple(self.plan.runs.index(one.key) for one in self.slots.running)

    def _take(self, key: RunKey, attempt: Attempt) -> None:
        """A run has ended. A stop that was cancelled too late for its trainer is undone by going on from its
        checkpoint."""
        outcome = self._over(key, attempt)
        if outcome == "stopped" and self.orders.stop is None:
            if attempt.asked is None:
                self.orders.set_stop("now", "", "a signal to the trainer")
            else:
                self.queue.put_back(key)
        elif outcome == "finished":
            self.queue.succeeded(key)
        elif outcome == "failed":
            self._failed(key)

    def _failed(self, key: RunKey) -> None:
        """It waits for another try, if it has one. What fails again and again ends the queue, or its variant's part of
        it, unless a run beside it may still show that others can train: then nothing of it is begun until that one has
        ended."""
        variant, again = key.variant, not self.queue.gave_up(key)
        why = f"{self.queue.in_a_row(variant)} runs {f'of {variant} ' if variant else ''}failed one after the other"
        if self.full:
            self.orders.closed = room.FULL
        elif again:
            tries = f"try {self.queue.tried(key) + 1} of {self.plan.retries + 1}"
            self._note(f"{key.name} failed and waits behind the others for {tries}", "warn")
        elif not self._failing(variant) or not any(one.variant == variant for one in self.queue.waiting):
            return
        elif variant in self._held():
            no_other = f"no other{' of it' if variant else ''} is started"
            self._note(f"{why}: {no_other} before one of those under way has finished", "bad")
        elif variant:
            left = self.queue.give_up(variant)
            self.journal.write(RunsGivenUp(runs=tuple(one.at for one in left), variant=variant, why=why), sync=True)
        else:
            self.orders.closed = why
        if self.orders.closed:
            self._note(f"{self.orders.closed}: the rest is not started", "bad")

    def _failing(self, variant: str) -> bool:
        count = sum(key.variant == variant for key in self.plan.runs)
        return count > FAILURES_IN_A_ROW and self.queue.failing(variant)

    def _held(self) -> set[str]:
        """Variants of which nothing is begun for as long as those under way take; '' where there are none."""
        return {one.key.variant for one in self.slots.running if self._failing(one.key.variant)}

    def _ready(self) -> bool:
        """Whether a run waits that may begin."""
        return not self.orders.closed and self.queue.ready(self._held())

    def _prepare(self) -> bool:
        """Volumes into the cache. Cheap when all is there: it then only checks. False: failed or stopped."""
        attempt = begin_prepare(self.paths)
        self.journal.write(PrepareStarted(pid=attempt.who.pid))
        ended = self.oversight.follow(attempt)
        ok = ended.outcome == "finished" and read_json(self.paths.data, Prepared) is not None
        if ok:
            with_data_hash(self.paths)
        self.journal.write(PrepareEnded(seconds=ended.seconds, ok=ok, verdict=None if ok else ended.verdict), sync=True)
        if not ok:
            self.survivors = ended.survivors
            outcome: Outcome = "stopped" if ended.outcome == "stopped" else "failed"
            self._say_end(outcome, ended.verdict.text, None if outcome == "stopped" else ended.verdict)
        return ok

    def _test(self) -> Outcome:
        """Visit after visit, instead of runs."""
        conductor = Conductor(self.paths, self.plan, self.journal, self.oversight.conducting, self.oversight.kept)
        text = conductor.conduct()
        measured = len({visit.phase for visit in conductor.done if visit.verdict.kind == "ok"})
        left = "" if self.survivors else "; nothing of it is left running"
        if self.orders.stop is not None:
            self.orders.done()
            reached = self.orders.reached
            why = f"stopped at its {reached.text}" if reached is not None else "stopped as asked"
            known = sum(phases.measurement(conductor.done, n) is not None for n in {v.phase for v in conductor.done})
            return self._say_end("stopped", f"{why}: {plural(known, 'phase')} measured{left}", None)
        if not measured:
            verdict = conductor.done[-1].verdict if conductor.done else None
            return self._say_end("failed", text, verdict)
        return self._say_end("finished", f"{text.rstrip('.')}{left}", None, conductor.best)

    def _over(self, key: RunKey, attempt: Attempt) -> Outcome:
        """Write down how an attempt ended that has."""
        ended = self.oversight.closed(attempt)
        self.journal.write(ended.record(key, attempt.number), sync=True)
        self.survivors, self.last = ended.survivors, ended.verdict
        self.verdicts[key] = ended.verdict
        self.full = ended.outcome == "failed" and ended.verdict.kind == "disk_full"
        if ended.outcome == "finished":
            self.orders.finished_here += 1
        return ended.outcome

    def _on_signal(self, number: int, _: object) -> None:
        self.orders.signalled = STOPPING[signal.Signals(number)]

    # ------------------------------------------------------------ what is done, and the end

    def _complete(self, key: RunKey) -> bool:
        done, aside = completed(self.paths, self.plan, key)
        if aside is not None:
            self._note(f"{key.name}: results.json belongs to another configuration; kept as {aside.name}", "warn")
        if done is not None:
            self.journal.write(RunSkipped(fold=key.fold, restart=key.restart, variant=key.variant, dice=done.test_dice))
        return done is not None

    def _end(self) -> Outcome:
        done = sum(read_json(self.paths.run(*key.at).results, Completion) is not None for key in self.plan.runs)
        self.survivors = left_of(self.paths.folder, self.survivors)
        orders = self.orders
        orders.done()
        outcome, text, verdict = ending(
            Result(
                total=len(self.plan.runs),
                done=done,
                failed=self.queue.failed,
                why=tuple(self.verdicts[key] for key in self.queue.failed if key in self.verdicts),
                given_up=self.queue.given_up,
                stopped=orders.stop is not None,
                reached=orders.reached,
                promised=self.plan.stop_after_runs,
                finished_here=orders.finished_here,
                last=self.last,
                clean=not self.survivors,
            )
        )
        return self._say_end(outcome, text, verdict)

    def _say_end(
        self, outcome: Outcome, text: str, verdict: Verdict | None, best: dict[str, Value] | None = None
    ) -> Outcome:
        self.oversight.close()  # before the last line, which may say that nothing is left running
        if self._spared(outcome) and (command := self.plan.on_finish) is not None:
            name = Path(command.argv[0]).name
            self._note(f"on-finish command {name} is not run after a stop that was asked for (see --on-finish-always)")
        self.journal.write(
            ExperimentEnded(outcome=outcome, text=text, verdict=verdict, survivors=self.survivors, knobs=best),
            sync=True,
        )
        self.afterwards(outcome, text)
        return outcome

    def afterwards(self, outcome: Outcome, text: str) -> None:
        """Tell who wants to be told, and run the user's command, in a process that outlives this one."""
        command = None if self._spared(outcome) else self.plan.on_finish
        message = notify.message(outcome, self.plan.name, outcome, text)
        try:
            on_finish.begin(
                self.paths.folder, on_finish.Ending(message=message, outcome=outcome, command=command)
            )
        except OSError as error:
            self._note(f"nothing could be started for after the end: {error.strerror or error}", "bad")

    def _spared(self, outcome: Outcome) -> bool:
        """Whether the user's command is not run, as this is a stop that somebody asked for. Nobody asked for a failure,
        and a launch that was to end after as many runs as there are has finished."""
        command, orders = self.plan.on_finish, self.orders
        asked = orders.by_user and (orders.stop is not None or outcome == "stopped")
        return command is not None and not command.always and asked

    def _note(self, text: str, level: str = "info") -> None:
        self.journal.write(Note(text=text, level=level))  # type: ignore[arg-type]


def main(folder: Path) -> int:
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    paths = ExperimentPaths(folder)
    plan = read_json(paths.plan, Plan)
    if plan is None:
        print(f"{paths.plan}: not readable", file=sys.stderr)
        return 2
    if take_lock(paths.lock) is None:
        return LOCKED
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with Writer(paths.events) as journal:
        supervisor = Supervisor(paths, plan, journal)
        try:
            outcome = supervisor.run()
        except Exception as error:
            text, verdict = room.failure(error, folder)
            journal.write(ExperimentEnded(outcome="failed", text=text, verdict=verdict), sync=True)
            supervisor.afterwards("failed", text)
            raise
        finally:
            supervisor.oversight.close()
    return {"finished": 0, "stopped": 3}.get(outcome, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
