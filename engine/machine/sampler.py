"""Reads the machine every two seconds into machine.jsonl: `python -m engine.machine.sampler FOLDER SUPERVISOR_PID`.

A process of its own: NVML may hang for half a minute or crash when a GPU falls off the bus, and must take neither the
supervisor nor the screen with it. It ends when the supervisor does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Literal, TypeAlias

import psutil

from engine.journals.events import Sample, Worker
from engine.journals.journal import Writer
from engine.journals.records import ProcessInfo
from engine.machine import cgroup
from engine.machine.gpu import Gpus
from engine.paths import RUNS, ExperimentPaths, RunPaths, read_json
from engine.process import alive, children, descendants

Role: TypeAlias = Literal["trainer", "worker", "other"]

INTERVAL_SECONDS = 2.0
# smaps_rollup walks the page tables: 3–20 ms per process, so it is read less often than everything else.
MEMORY_EVERY = 5
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1


class Sampler:
    """Holds the last counters, from which rates follow."""

    def __init__(self, paths: ExperimentPaths, gpus: Gpus) -> None:
        self.paths = paths
        self.gpus = gpus
        self.cores = len(os.sched_getaffinity(0))
        self._busy: dict[int, tuple[float, float]] = {}
        self._disk: tuple[float, int, int] | None = None
        self._memory: dict[int, tuple[int, int, int]] = {}
        self._roles: dict[int, Role] = {}
        self._ticks = 0
        psutil.cpu_percent()

    def sample(self) -> Sample:
        """One reading; the first has no rates."""
        trainers = self._trainers()
        pids = [pid for trainer in trainers for pid in (trainer, *descendants(trainer))]
        if self._ticks % MEMORY_EVERY == 0 or not set(pids) <= set(self._memory):
            self._memory = {pid: memory for pid in pids if (memory := smaps(pid)) is not None}
        self._ticks += 1
        now = time.monotonic()
        workers = tuple(
            Worker(
                pid=pid,
                role=self._role(pid, trainers),
                cpu=self._cores_of(pid, now),
                rss=self._memory[pid][0],
                pss=self._memory[pid][1],
                uss=self._memory[pid][2],
            )
            for pid in pids
            if pid in self._memory
        )
        self._busy = {pid: value for pid, value in self._busy.items() if pid in pids}
        self._roles = {pid: role for pid, role in self._roles.items() if pid in pids}
        ram = psutil.virtual_memory()
        total, available = ram.total, ram.available
        limit = cgroup.memory()
        if limit is not None and limit.free < available:
            # A container or a Slurm job ends when its own memory is used up, however much the machine has.
            total, available = min(total, int(limit.most)), int(limit.free)
        shm = _space(Path("/dev/shm"))  # noqa: S108  looked at, not written to
        disk = _space(self.paths.folder)
        read, write = self._disk_rates(now)
        return Sample(
            cores=self.cores,
            cpu=round(psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1), 3),
            own_cpu=round(sum(worker.cpu for worker in workers), 3),
            ram_total=total,
            ram_available=available,
            shm_total=shm[0],
            shm_used=shm[0] - shm[1],
            disk_total=disk[0],
            disk_free=disk[1],
            disk_read=read,
            disk_write=write,
            gpus=self.gpus.read(set(pids)),
            gpu_reason=self.gpus.reason,
            workers=workers,
        )

    def _trainers(self) -> list[int]:
        """Trainers that live, from the runs' process.json; the newest few are enough, the others have ended."""
        files = sorted(self.paths.folder.glob(f"{RUNS}/process.json"), key=_touched, reverse=True)[:8]
        infos = [info for file in files if (info := read_json(RunPaths(file.parent).process, ProcessInfo))]
        return [info.who.pid for info in infos if alive(info.who)]

    def _role(self, pid: int, trainers: list[int]) -> Role:
        if pid in trainers:
            return "trainer"
        if pid not in self._roles:
            self._roles[pid] = role_of(pid, trainers)
        return self._roles[pid]

    def _cores_of(self, pid: int, now: float) -> float:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return 0.0
        used = (int(fields[11]) + int(fields[12])) / TICKS
        before = self._busy.get(pid)
        self._busy[pid] = (now, used)
        return round((used - before[1]) / (now - before[0]), 3) if before and now > before[0] else 0.0

    def _disk_rates(self, now: float) -> tuple[float | None, float | None]:
        counters = psutil.disk_io_counters()
        if counters is None:
            return None, None
        before, self._disk = self._disk, (now, counters.read_bytes, counters.write_bytes)
        if before is None or now <= before[0]:
            return None, None
        seconds = now - before[0]
        return (counters.read_bytes - before[1]) / seconds, (counters.write_bytes - before[2]) / seconds


def role_of(pid: int, trainers: list[int]) -> Role:
    """A loader's process, or one of the small ones that Python and torch start beside them: those of 5 MB would halve
    what a worker seems to take on average. Children of a fork server are workers and look like it."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "worker"
    if b"multiprocessing.resource_tracker" in command or b"_inductor/compile_worker" in command:
        return "other"
    server = b"multiprocessing.forkserver" in command and any(pid in children(trainer) for trainer in trainers)
    return "other" if server else "worker"


def smaps(pid: int) -> tuple[int, int, int] | None:
    """RSS, PSS, USS of a process in bytes; None if it is gone or another user's.

    Files are left out of PSS and USS: prepared volumes are mapped, and of those the kernel takes pages back as soon as
    memory is short, so they are no more used up than the rest of its cache.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:] if line.endswith("kB")}
    if not kib:
        return None
    pss = kib["Pss_Anon"] + kib.get("Pss_Shmem", 0) if "Pss_Anon" in kib else kib.get("Pss", 0)
    # Pages that a process has written to; a file's, but for one written this minute, are clean.
    uss = kib.get("Private_Dirty", 0) + kib.get("Private_Hugetlb", 0)
    return kib.get("Rss", 0) * 1024, pss * 1024, uss * 1024


def _space(folder: Path) -> tuple[int, int]:
    """Total and free bytes of the file system."""
    try:
        info = os.statvfs(folder)
    except OSError:
        return 0, 0
    return info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize


def _touched(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def main(folder: Path, parent: int) -> int:
    """`parent`: the supervisor. Told rather than asked for: it may have gone before this process first looked."""
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # The supervisor starts this from its only thread, so the signal comes when the process ends, not a thread.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    paths = ExperimentPaths(folder)
    sampler = Sampler(paths, Gpus())
    with Writer(paths.machine) as writer:
        due = time.monotonic()
        while os.getppid() == parent:
            writer.write(sampler.sample())
            due = max(due + INTERVAL_SECONDS, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
