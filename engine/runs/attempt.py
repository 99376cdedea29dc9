"""One try at a run (or at preparing volumes): started or taken over, asked to stop, and what became of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.config.plan import Plan
from engine.config.run_keys import RunKey
from engine.journals import journal
from engine.journals.events import Outcome, RunEnded, Steps, Stop, Verdict
from engine.journals.records import ExitInfo, ProcessInfo, ResultInfo
from engine.machine import cgroup
from engine.machine.room import is_full, shm_share
from engine.paths import ExperimentPaths, RunPaths, read_json, write_json
from engine.process import FOLDER, TOKEN, alive, boot_id, end_all, holding, ident, signal_safely
from engine.runs.saved import saved
from engine.runs.verdict import Evidence, classify

# A trainer finishes its step and writes a checkpoint when asked to stop; steps of half a minute are normal.
GRACE_SECONDS = 300.0
GRACE_STEPS = 3
TAIL_BYTES = 1 << 16
# The trainer goes before the supervisor when memory runs out, so that somebody is left to say why.
OOM_SCORE = 400


class Files(NamedTuple):
    """Where a child writes and is written about; `run`: the run it trains, None for preparing volumes."""

    process: Path
    exit: Path
    result: Path
    log: Path
    run: RunPaths | None = None


class Ended(NamedTuple):
    outcome: Outcome
    verdict: Verdict
    seconds: float
    rc: int | None
    swept: int
    survivors: tuple[int, ...]

    def record(self, key: RunKey, attempt: int) -> RunEnded:
        """What the supervisor's journal says of it."""
        return RunEnded(
            fold=key.fold, restart=key.restart, variant=key.variant, attempt=attempt, outcome=self.outcome,
            verdict=self.verdict, seconds=self.seconds, rc=self.rc, swept=self.swept, survivors=self.survivors,
        )


class Attempt:
    """A child that runs, or a trainer of a former supervisor (`child` None: its exit code is unknowable)."""

    def __init__(self, files: Files, info: ProcessInfo, child: subprocess.Popen[bytes] | None) -> None:
        self.files = files
        self.info = info
        self.who = info.who
        self.number = info.attempt
        self.child = child
        self.asked: Stop | None = None
        self._asked_at = 0.0
        self._escalated = False
        self.pidfd: int | None = None
        with contextlib.suppress(OSError):
            self.pidfd = os.pidfd_open(self.who.pid)

    def ended(self) -> bool:
        return self.child.poll() is not None if self.child else not alive(self.who)

    def wait(self, seconds: float) -> None:
        """Until it ends, at most `seconds`."""
        wait((self,), seconds)

    def ask_to_stop(self, mode: Stop) -> None:
        """Repeated calls are one request. Only the leader is signalled: SIGTERM to the group would end the loader's
        workers first and turn the stop into a crash."""
        if self.asked == mode:
            if mode == "now" and not self._escalated and time.monotonic() - self._asked_at > self._grace():
                self._escalated = True
                signal_safely(self.who, signal.SIGKILL)
            return
        self.asked, self._asked_at = mode, time.monotonic()
        signal_safely(self.who, signal.SIGKILL if mode == "force" else signal.SIGTERM)

    def _grace(self) -> float:
        """Time to finish a step in: whole volumes on a CPU may take longer for one than GRACE_SECONDS."""
        least = float(os.environ.get("STEPTOP_GRACE_SECONDS", GRACE_SECONDS))
        if self.files.run is None or time.monotonic() - self._asked_at <= least:
            return least
        steps = (r for r in journal.read_ends(self.files.run.segment(self.number))[0] if isinstance(r, Steps))
        return max(least, GRACE_STEPS * max((step.high for step in steps), default=0.0))

    def close(self, kept: Callable[[], set[int]]) -> Ended:
        """After its end: end what it left behind, write exit.json, say what happened."""
        # Before its batches are swept out of there.
        shm = shm_share(self.files.run.folder.parent if self.files.run else self.files.result.parent)
        swept, survivors = end_all(None, self.info.token, kept)
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        code = self.child.returncode if self.child else None
        rc = code if code is not None and code >= 0 else None
        number = -code if code is not None and code < 0 else None
        oom_kills = max(0, oom_kill_count() - self.info.oom_kills)
        result = read_json(self.files.result, ResultInfo)
        if result is not None and result.attempt != self.number:
            result = None
        outcome, verdict = classify(
            Evidence(
                result=result,
                rc=rc,
                signal=number,
                stop=self.asked,
                escalated=self._escalated,
                oom_kills=oom_kills,
                cgroup_kills=max(0, cgroup.oom_kills() - self.info.cgroup_kills),
                tail=log_tail(self.files.log, self.info.log_offset),
                rebooted=self.who.boot_id != boot_id(),
                saved=self.files.run is None or saved(self.files.run),
                preparing=self.files.run is None,
                disk_full=is_full(self.files.result.parent),
                shm=shm,
            )
        )
        # Without room for it the supervisor's journal says it all the same.
        with contextlib.suppress(OSError):
            write_json(
                self.files.exit,
                ExitInfo(
                    attempt=self.number,
                    rc=rc,
                    signal=number,
                    stop=self.asked,
                    swept=swept,
                    survivors=survivors,
                    oom_kills=oom_kills,
                    at=time.time(),
                ),
            )
        return Ended(outcome, verdict, self.seconds(), code, swept, survivors)

    def seconds(self) -> float:
        """From its start to its end; to the last line of its journal where nobody was there to see it end."""
        if self.child is None and self.files.run is not None:
            records = journal.read_ends(self.files.run.segment(self.number))[0]
            if records:
                same = self.who.boot_id == boot_id()
                return max(0.0, records[-1].m - (self.info.started_monotonic if same else records[0].m))
        return max(0.0, time.monotonic() - self.info.started_monotonic)


def wait(attempts: Sequence[Attempt], seconds: float) -> None:
    """Until one of them ends, at most `seconds`."""
    watched = [attempt.pidfd for attempt in attempts if attempt.pidfd is not None]
    if len(watched) < len(attempts) or not watched:
        time.sleep(seconds)
        return
    poll = select.poll()
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    poll.poll(seconds * 1000)


def run_files(run: RunPaths) -> Files:
    return Files(run.process, run.exit, run.result, run.console, run)


def prepare_files(paths: ExperimentPaths) -> Files:
    return Files(paths.prepare_process, paths.prepare_exit, paths.prepare_result, paths.prepare_log)


def begin_run(
    paths: ExperimentPaths, plan: Plan, key: RunKey, environ: Mapping[str, str] | None = None, slot: int = 0
) -> Attempt:
    """Start the trainer of a run; its attempt's number is one more than the journals that are there. `environ`: what it
    finds set besides."""
    run = paths.run(*key.at)
    run.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if plan.test is None:
        run.profile.unlink(missing_ok=True)  # what was asked for is in the plan by now
    before = read_json(run.process, ProcessInfo)
    number = max(before.attempt if before else 0, len(run.segments())) + 1
    command = plan.experiment.command or (sys.executable, "-P", "-m", "engine.training")
    given = {**(environ or {}), FOLDER: str(paths.folder)}
    return _start((*command, str(run.folder)), run_files(run), number, given, run.folder, slot)


def begin_prepare(paths: ExperimentPaths) -> Attempt:
    """Start preparing volumes; one that a former supervisor left running is ended first (it resumes where it was)."""
    before = read_json(paths.prepare_process, ProcessInfo)
    if before is not None and alive(before.who):
        signal_safely(before.who, signal.SIGTERM)
    number = before.attempt + 1 if before else 1
    command = (sys.executable, "-P", "-m", "engine.training.prepare", str(paths.folder))
    return _start(command, prepare_files(paths), number, {FOLDER: str(paths.folder)}, paths.folder)


def _start(
    argv: tuple[str, ...], files: Files, number: int, environ: dict[str, str], folder: Path, slot: int = 0
) -> Attempt:
    token = uuid.uuid4().hex
    log = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        offset = os.fstat(log).st_size
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env=os.environ | environ | {
                TOKEN: token, "STEPTOP_ATTEMPT": str(number), "PYTHONUNBUFFERED": "1",
                # The log is read as UTF-8, and no locale may end a training over a letter it does not know.
                "PYTHONIOENCODING": "utf-8:backslashreplace",
            },
        )
    finally:
        os.close(log)
    with contextlib.suppress(OSError):
        Path(f"/proc/{child.pid}/oom_score_adj").write_text(str(OOM_SCORE))
    who, supervisor = ident(child.pid), ident(os.getpid())
    assert supervisor is not None
    if who is None:  # it ended at once; its pid is still ours until it is waited for
        who = type(supervisor)(pid=child.pid, start=-1, boot_id=supervisor.boot_id, host=supervisor.host)
    info = ProcessInfo(
        who=who,
        supervisor=supervisor,
        token=token,
        argv=argv,
        attempt=number,
        started=time.time(),
        started_monotonic=time.monotonic(),
        oom_kills=oom_kill_count(),
        cgroup_kills=cgroup.oom_kills(),
        log_offset=offset,
        slot=slot,
    )
    try:
        write_json(files.process, info)
    except OSError:
        # Nobody would find it again: it must not train unseen.
        child.kill()
        child.wait()
        raise
    return Attempt(files, info, child)


def adopt(paths: ExperimentPaths, plan: Plan) -> list[tuple[RunKey, Attempt]]:
    """The trainers that a former supervisor started and that still run."""
    found = []
    for key in plan.runs:
        files = run_files(paths.run(*key.at))
        info = read_json(files.process, ProcessInfo)
        if info is not None and alive(info.who):
            found.append((key, Attempt(files, info, None)))
    return found


def end_strays(paths: ExperimentPaths, adopted: Sequence[Attempt]) -> int:
    """End what this experiment's folder still has running beside the adopted trainers' trees; how many there were.

    A supervisor killed between starting a trainer and writing its process.json down leaves such a one. It must not go
    on beside its successor in the same folder.
    """
    spared = {pid for attempt in adopted for pid in holding(attempt.info.token)}
    strays = [pid for pid in holding(str(paths.folder), name=FOLDER) if pid not in spared and pid != os.getpid()]
    for pid in strays:
        who = ident(pid)
        if who is not None:
            signal_safely(who, signal.SIGKILL)
    return len(strays)


def unfinished(paths: ExperimentPaths, plan: Plan) -> list[tuple[RunKey, Attempt]]:
    """Attempts whose end nobody has written down: their supervisor was killed, and by now so are they."""
    found = []
    for key in plan.runs:
        files = run_files(paths.run(*key.at))
        info, ended = read_json(files.process, ProcessInfo), read_json(files.exit, ExitInfo)
        if info is not None and not alive(info.who) and (ended is None or ended.attempt != info.attempt):
            found.append((key, Attempt(files, info, None)))
    # On a full disk there is no exit.json, but there is a line in the journal.
    records = journal.read(paths.events) if found else []
    told = {(*r.at, r.attempt) for r in records if isinstance(r, RunEnded)}
    return [(key, attempt) for key, attempt in found if (*key.at, attempt.number) not in told]


def log_tail(path: Path, offset: int) -> str:
    """The end of this attempt's part of the log."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(offset, size - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def oom_kill_count() -> int:
    """Out-of-memory kills on this machine since boot (readable by anybody, unlike dmesg)."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
