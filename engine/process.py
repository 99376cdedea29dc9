"""Who a process is, whether it still lives, and what it has started (Linux's /proc).

A pid alone names nobody: it is reused. Start time and boot id make it an identity.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

# In the environment of every process an experiment starts: its folder, and a token of its own for each attempt.
FOLDER = "STEPTOP_FOLDER"
TOKEN = "STEPTOP_TOKEN"  # noqa: S105  an environment variable's name
PROC = Path("/proc")


class Ident(msgspec.Struct, frozen=True, kw_only=True):
    """A process and no other: pid, start time in clock ticks since boot, the boot, the host."""

    pid: int
    start: int
    boot_id: str
    host: str


def boot_id(proc: Path = PROC) -> str:
    try:
        return (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int, proc: Path = PROC) -> list[str] | None:
    """Fields of /proc/pid/stat from the third on. The name before them may contain anything, so: after the last ')'."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rfind(")") + 2 :].split()


def start_ticks(pid: int, proc: Path = PROC) -> int | None:
    """None for a process that is gone or a zombie."""
    fields = _stat(pid, proc)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def ident(pid: int, proc: Path = PROC) -> Ident | None:
    ticks = start_ticks(pid, proc)
    if ticks is None:
        return None
    return Ident(pid=pid, start=ticks, boot_id=boot_id(proc), host=socket.gethostname())


def alive(who: Ident | None, proc: Path = PROC) -> bool:
    """Whether that very process runs on this machine."""
    return who is not None and who.boot_id == boot_id(proc) and start_ticks(who.pid, proc) == who.start


def signal_safely(who: Ident, number: int) -> bool:
    """Signal that very process; False if it is gone. A pidfd closes the gap in which its pid could be reused."""
    try:
        descriptor = os.pidfd_open(who.pid)
    except OSError:
        return False
    try:
        if not alive(who):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def children(pid: int, proc: Path = PROC) -> list[int]:
    found: list[int] = []
    try:
        for task in (proc / str(pid) / "task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    except OSError:
        pass
    return found


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """Every process below `pid`, itself left out."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = [child for child in children(waiting.pop(), proc) if child not in found]
        found += below
        waiting += below
    return found


def carrying(name: str, proc: Path = PROC) -> dict[str, list[int]]:
    """Own processes whose environment has the variable `name`, by its value: one pass over /proc."""
    mark = f"\0{name}=".encode()
    found: dict[str, list[int]] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            environ = b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        _, there, rest = environ.partition(mark)
        if there and start_ticks(int(entry.name), proc) is not None:
            found.setdefault(os.fsdecode(rest.partition(b"\0")[0]), []).append(int(entry.name))
    return found


def holding(token: str, proc: Path = PROC, name: str = TOKEN) -> list[int]:
    """Own processes whose environment carries `name`=token: descendants that have been re-parented too."""
    return carrying(name, proc).get(token, [])


def end_all(
    find: Iterable[int] | None, token: str, kept: Callable[[], set[int]], seconds: float = 5.0
) -> tuple[int, tuple[int, ...]]:
    """SIGKILL everything below this process and everything holding `token`, until nothing is left.

    `find` adds pids to look at besides; who is `kept` is spared, and asked for anew at every look: trainers beside it
    go on starting processes. Returns how many were ended and who would not go.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    while True:
        left = {*descendants(os.getpid()), *holding(token), *(find or ())}
        spared = kept()
        left = {p for p in left if p not in spared and p != os.getpid() and start_ticks(p) is not None}
        if not left or time.monotonic() > deadline:
            return len(ended - left), tuple(sorted(left))
        for pid in left:
            who = ident(pid)
            if who is not None:
                signal_safely(who, signal.SIGKILL)
                ended.add(pid)
        reap()
        time.sleep(0.02)


def reap() -> dict[int, int]:
    """Collect every child that has ended; pid -> wait status."""
    gone: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return gone
        if pid == 0:
            return gone
        gone[pid] = status
