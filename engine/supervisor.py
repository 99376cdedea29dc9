"""One per experiment: `python -m engine.supervisor FOLDER`. Queues runs, starts trainers, obeys, says how each ended.

It holds the experiment's lock for as long as it lives, adopts every orphan of its trainers (subreaper) and ends what
a trainer leaves behind. It is detached: no terminal, no pipe to anybody. If it is killed its trainer goes on, and the
next supervisor takes that trainer over.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from engine import control, journal as journals, living, logout, room
from engine.attempt import Attempt, Ended, adopt, begin_prepare, begin_run, end_strays, unfinished
from engine.completion import completed
from engine.conductor import Conductor
from engine.counts import plural
from engine.events import (
    ExperimentEnded,
    Note,
    Outcome,
    PrepareEnded,
    PrepareStarted,
    ProfileAsked,
    RunEnded,
    RunSkipped,
    RunStarted,
    Stop,
    StopChanged,
    SupervisorStarted,
    Verdict,
)
from engine.experiment import Plan, Prepared, RunKey
from engine.journal import Writer
from engine.knob import Value
from engine.lock import take_lock
from engine.manifest import with_data_hash
from engine.paths import ExperimentPaths, read_json, write_json
from engine.process import boot_id, ident
from engine.records import Completion, ProfileRequest, SupervisorInfo
from engine.survivors import left_of

LOCKED = 75
POLL_SECONDS = 0.2
PR_SET_CHILD_SUBREAPER = 36
# Two trainings that fail one after the other fail for one reason, and the next would too.
FAILURES_IN_A_ROW = 2


class Supervisor:
    """The queue of one experiment. `run` returns how it all ended."""

    def __init__(self, paths: ExperimentPaths, plan: Plan, journal: Writer) -> None:
        self.paths = paths
        self.plan = plan
        self.journal = journal
        self.stop: Stop | None = None
        self.stop_id = ""
        self.finished_here = 0
        self.place = 0
        self.failed: list[RunKey] = []
        self.survivors: tuple[int, ...] = ()
        self.sampler: subprocess.Popen[bytes] | None = None
        self._sampler_due = 0.0
        self.cancelled = False
        self.full = False
        self.room = room.Room(paths.folder)
        self._terminated = False

    # ------------------------------------------------------------ the order of things

    def run(self) -> Outcome:
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self.journal.reserve(room.LAST_WORDS_BYTES)
        # A test's trial is thrown away anyway: its journal lacks the visit that was under way.
        adopted = adopt(self.paths, self.plan) if self.plan.test is None else None
        strays = end_strays(self.paths, adopted[1] if adopted else None)
        self.journal.write(
            SupervisorStarted(
                pid=os.getpid(),
                host=socket.gethostname(),
                boot_id=boot_id(),
                runs=tuple((key.fold, key.restart) for key in self.plan.runs),
                stop_after_runs=self.plan.stop_after_runs,
                adopted=adopted[1].who.pid if adopted else 0,
            ),
            sync=True,
        )
        # Only now is it announced: who waits for it will not read the former supervisor's last line as this one's.
        who = ident(os.getpid())
        assert who is not None
        write_json(self.paths.supervisor, SupervisorInfo(who=who, started=time.time()))
        if strays:
            self._note(f"{plural(strays, 'left-over process')} of an earlier supervisor ended", "warn")
        if adopted is not None:
            self._remember()
        if killing := logout.warning():
            self._note(killing, "warn")
        for key, attempt in unfinished(self.paths, self.plan):
            self._see_through(key, attempt)
        if adopted is not None:
            self._see_through(*adopted)
            if self._stop_due():
                return self._end()
        if not self.plan.experiment.command and not self._prepare():
            return "stopped" if self.stop else "failed"
        if self.plan.test is not None:
            return self._test()
        in_a_row = 0
        for key in self.plan.runs:
            if self._stop_due():
                break
            if self._complete(key):
                continue
            outcome = self._train(key)
            in_a_row = in_a_row + 1 if outcome == "failed" else 0
            if self.full or (in_a_row == FAILURES_IN_A_ROW and len(self.plan.runs) > 2):
                why = room.FULL if self.full else f"{in_a_row} runs failed one after the other"
                self._note(f"{why}: the rest is not started", "bad")
                break
        return self._end()

    def _remember(self) -> None:
        """What the former supervisor had promised and done: a stop it had taken up, and the runs it had finished."""
        promised: StopChanged | None = None
        for record in journals.read(self.paths.events):
            if isinstance(record, ExperimentEnded) or (isinstance(record, SupervisorStarted) and not record.adopted):
                promised, self.finished_here = None, 0
            elif isinstance(record, StopChanged):
                promised = record if record.phase == "acknowledged" else None
            elif isinstance(record, RunEnded) and record.outcome == "finished":
                self.finished_here += 1
        if promised is not None:
            self._set_stop(promised.mode, promised.id, promised.by)

    def _prepare(self) -> bool:
        """Volumes into the cache. Cheap when all is there: it then only checks. False: failed or stopped."""
        attempt = begin_prepare(self.paths)
        self.journal.write(PrepareStarted(pid=attempt.who.pid))
        ended = self._follow(attempt)
        ok = ended.outcome == "finished" and read_json(self.paths.data, Prepared) is not None
        if ok:
            with_data_hash(self.paths)
        self.journal.write(PrepareEnded(seconds=ended.seconds, ok=ok, verdict=None if ok else ended.verdict), sync=True)
        if not ok:
            self.survivors = ended.survivors
            outcome: Outcome = "stopped" if ended.outcome == "stopped" else "failed"
            self._say_end(outcome, ended.verdict.text, None if outcome == "stopped" else ended.verdict)
        return ok

    def _train(self, key: RunKey) -> Outcome:
        """Train to the end. A stop cancelled too late for the trainer is undone by going on from its checkpoint."""
        while True:
            outcome = self._see_through(key, begin_run(self.paths, self.plan, key), started=True)
            if outcome != "stopped" or self.stop is not None:
                return outcome
            if not self.cancelled:
                self._set_stop("now", "", "a signal to the trainer")
                return outcome
            self.cancelled = False

    def _test(self) -> Outcome:
        """Visit after visit, instead of runs."""
        conductor = Conductor(self.paths, self.plan, self.journal, self._conducting, self._kept)
        text = conductor.conduct()
        measured = len({visit.phase for visit in conductor.done if visit.verdict.kind == "ok"})
        left = "" if self.survivors else "; nothing of it is left running"
        if self.stop is not None:
            self.journal.write(StopChanged(id=self.stop_id, mode=self.stop, phase="done"))
            return self._say_end("stopped", f"stopped as asked: {measured} phases measured{left}", None)
        if not measured:
            verdict = conductor.done[-1].verdict if conductor.done else None
            return self._say_end("failed", text, verdict)
        return self._say_end("finished", f"{text.rstrip('.')}{left}", None, conductor.best)

    def _conducting(self, trial: Attempt | None) -> bool:
        """While a test goes on. `trial` None: between two visits, where a stop after this run takes effect too."""
        self._obey()
        if trial is not None and self.stop in ("now", "force"):
            trial.ask_to_stop(self.stop)
        self._keep_sampling()
        return self.stop is not None and (trial is None or self.stop != "after_run")

    def _kept(self) -> set[int]:
        return {self.sampler.pid} if self.sampler else set()

    def _see_through(self, key: RunKey, attempt: Attempt, started: bool = False) -> Outcome:
        """Follow a trainer to its end and write down how it ended."""
        if started:
            self.journal.write(
                RunStarted(
                    fold=key.fold, restart=key.restart, attempt=attempt.number, pid=attempt.who.pid,
                    device=self.plan.device,
                ),
                sync=True,
            )
        self.place = self.plan.runs.index(key)
        ended = self._follow(attempt)
        self.journal.write(
            RunEnded(
                fold=key.fold,
                restart=key.restart,
                attempt=attempt.number,
                outcome=ended.outcome,
                verdict=ended.verdict,
                seconds=ended.seconds,
                rc=ended.rc,
                swept=ended.swept,
                survivors=ended.survivors,
            ),
            sync=True,
        )
        self.survivors = ended.survivors
        self.full = ended.outcome == "failed" and ended.verdict.kind == "disk_full"
        if ended.outcome == "finished":
            self.finished_here += 1
        elif ended.outcome == "failed":
            self.failed.append(key)
        return ended.outcome

    # ------------------------------------------------------------ while a child runs

    def _follow(self, attempt: Attempt) -> Ended:
        """Wait for the attempt's end, obeying requests meanwhile."""
        while not attempt.ended():
            self._obey()
            if self.stop in ("now", "force"):
                attempt.ask_to_stop(self.stop)
            self._keep_sampling()
            if self.room.has_filled_up():
                self._note(room.GOES_ON, "bad")
            attempt.wait(POLL_SECONDS)
        self._obey()
        return attempt.close(self._kept())

    def _obey(self) -> None:
        """Take up what was asked for since the last look."""
        for asked in control.pending(self.paths):
            if asked.verb == "stop_cancel":
                self._cancel(asked)
            elif asked.verb == "profile":
                self._change_profile(asked)
            elif (mode := control.STOPS.get(asked.verb)) is None:
                control.answer(self.paths, asked, False, f"unknown request {asked.verb!r}")
            elif self.stop is not None and control.RANK[mode] <= control.RANK[self.stop]:
                control.answer(self.paths, asked, True, "already asked for")
            else:
                self._set_stop(mode, asked.id, asked.by)
                control.answer(self.paths, asked, True, "acknowledged")
        if self._terminated and self.stop not in ("now", "force"):
            self._set_stop("now", "", "SIGTERM")

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
        for key in self.plan.runs[self.place : self.place + 1]:
            run = self.paths.run(key.fold, key.restart)
            write_json(run.profile, ProfileRequest(id=asked.id, name=profile.name, knobs=profile.knobs))
        control.answer(self.paths, asked, True, "acknowledged")

    def _set_stop(self, mode: Stop, name: str, by: str) -> None:
        self.stop, self.stop_id = mode, name
        self.journal.write(StopChanged(id=name, mode=mode, phase="acknowledged", by=by), sync=True)

    def _cancel(self, asked: control.Request) -> None:
        promised = self.plan.stop_after_runs > 0
        if self.stop is None and not promised:
            control.answer(self.paths, asked, True, "nothing was pending")
        elif self.stop == "force":
            control.answer(self.paths, asked, False, "already ended by force; `steptop resume` goes on with it")
        else:
            if promised:  # at launch, with --stop-after-run: it is taken back with the rest
                self.plan = msgspec.structs.replace(self.plan, stop_after_runs=0)
                write_json(self.paths.plan, self.plan)
            mode = self.stop or "after_run"
            self.journal.write(StopChanged(id=self.stop_id, mode=mode, phase="cancelled", by=asked.by), sync=True)
            self.cancelled = self.stop == "now"
            self.stop = None
            control.answer(self.paths, asked, True, "cancelled")

    def _stop_due(self) -> bool:
        self._obey()
        return self.stop is not None or 0 < self.plan.stop_after_runs <= self.finished_here

    def _keep_sampling(self) -> None:
        """A sampler that died is started again, but not more often than every ten seconds."""
        if self.sampler is not None and self.sampler.poll() is None:
            return
        if time.monotonic() >= self._sampler_due:
            self._sampler_due = time.monotonic() + 10
            self.sampler = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.sampler", str(self.paths.folder), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                cwd=self.paths.folder,
            )

    def _on_sigterm(self, *_: object) -> None:
        self._terminated = True

    # ------------------------------------------------------------ what is done, and the end

    def _complete(self, key: RunKey) -> bool:
        done, aside = completed(self.paths, self.plan, key)
        if aside is not None:
            self._note(f"{key.name}: results.json belongs to another configuration; kept as {aside.name}", "warn")
        if done is not None:
            self.journal.write(RunSkipped(fold=key.fold, restart=key.restart, dice=done.test_dice))
        return done is not None

    def _end(self) -> Outcome:
        done = sum(read_json(self.paths.run(k.fold, k.restart).results, Completion) is not None for k in self.plan.runs)
        total = len(self.plan.runs)
        runs = f"{done} of {plural(total, 'run')}"
        self.survivors = left_of(self.paths.folder, self.survivors)
        left = "" if self.survivors else "; nothing of it is left running"
        failed = f", {len(self.failed)} failed ({self.failed[0].name})" if self.failed else ""
        if self.stop is not None:
            self.journal.write(StopChanged(id=self.stop_id, mode=self.stop, phase="done"))
            return self._say_end("stopped", f"stopped as asked: {runs} finished{failed}{left}", None)
        if self.failed:
            names = ", ".join(key.name for key in self.failed[:3])
            said = f"{len(self.failed)} of {plural(total, 'run')} failed ({names}); {done} finished{left}"
            return self._say_end("failed", said, None)
        if done < total and 0 < self.plan.stop_after_runs <= self.finished_here:
            ran = plural(self.finished_here, "run")
            return self._say_end(
                "stopped", f"stopped after {ran} as asked at launch: {done} of {total} finished{left}", None
            )
        if done < total:
            return self._say_end("stopped", f"{runs} finished{left}", None)
        every = f"all {plural(total, 'run')}" if total > 1 else "its one run"
        return self._say_end("finished", f"{every} finished{left}", None)

    def _say_end(
        self, outcome: Outcome, text: str, verdict: Verdict | None, best: dict[str, Value] | None = None
    ) -> Outcome:
        self.close()  # before the last line, which may say that nothing is left running
        self.journal.write(
            ExperimentEnded(outcome=outcome, text=text, verdict=verdict, survivors=self.survivors, knobs=best),
            sync=True,
        )
        return outcome

    def _note(self, text: str, level: str = "info") -> None:
        self.journal.write(Note(text=text, level=level))  # type: ignore[arg-type]

    def close(self) -> None:
        if self.sampler is not None:
            self.sampler.terminate()
            self.sampler.wait(5)
            self.sampler = None


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
            raise
        finally:
            supervisor.close()
    return {"finished": 0, "stopped": 3}.get(outcome, 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
