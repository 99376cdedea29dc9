"""What the control groups of this process allow it: CPU time, processes, memory. Version 2, version 1, or both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

SELF = Path("/proc/self")
ROOT = Path("/")
# Version 1 says "no limit" as the largest multiple of a page in 63 bits.
UNLIMITED = 1 << 62


class Limit(msgspec.Struct, frozen=True):
    """`most` of something may be used and `used` of it is; `file` says so."""

    most: float
    used: float
    file: str

    @property
    def free(self) -> float:
        return max(0.0, self.most - self.used)


def cpus(proc: Path = SELF, root: Path = ROOT) -> Limit | None:
    """The smallest CPU quota, in cores; None if there is none. Nobody counts what is used of it."""
    found = []
    for folder in _folders("cpu", proc, root):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            found.append(Limit(int(words[0]) / int(words[1]), 0.0, str(folder / "cpu.max")))
        quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        if quota and period and int(quota[0]) > 0:
            found.append(Limit(int(quota[0]) / int(period[0]), 0.0, str(folder / "cpu.cfs_quota_us")))
    return min(found, key=lambda limit: limit.most, default=None)


def pids(proc: Path = SELF, root: Path = ROOT) -> Limit | None:
    """The limit of processes and threads that leaves fewest; None if there is none."""
    found = []
    for folder in _folders("pids", proc, root):
        most, used = _words(folder / "pids.max"), _words(folder / "pids.current")
        if most and used and most[0] != "max":
            found.append(Limit(float(most[0]), float(used[0]), str(folder / "pids.max")))
    return min(found, key=lambda limit: limit.free, default=None)


def memory(proc: Path = SELF, root: Path = ROOT) -> Limit | None:
    """The limit of memory that leaves least, in bytes; files that are merely cached count as free."""
    found = []
    for folder in _folders("memory", proc, root):
        for limit, usage, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, used = _words(folder / limit), _words(folder / usage)
            if most and used and most[0] != "max" and int(most[0]) < UNLIMITED:
                left = max(0.0, float(used[0]) - _counter(folder / "memory.stat", cached))
                found.append(Limit(float(most[0]), left, str(folder / limit)))
    return min(found, key=lambda limit: limit.free, default=None)


def available_bytes(proc: Path = SELF, root: Path = ROOT) -> int:
    """Memory that could be had now without swapping, the machine's or what the control group leaves of it."""
    there = next(
        (int(line.split()[1]) << 10 for line in _lines(root / "proc/meminfo") if line.startswith("MemAvailable:")),
        1 << 32,
    )
    limit = memory(proc, root)
    return there if limit is None else min(there, int(limit.free))


def oom_kills(proc: Path = SELF, root: Path = ROOT) -> int:
    """Processes that the kernel killed because this group's memory limit was reached, its sub-groups' included."""
    for folder in _folders("memory", proc, root):
        for name in ("memory.events", "memory.oom_control"):
            if (folder / name).exists():
                return int(_counter(folder / name, "oom_kill"))
    return 0


def _folders(controller: str, proc: Path, root: Path) -> Iterator[Path]:
    """This process's group and the groups it lies in, innermost first: each of them limits it."""
    paths = {}
    for line in _lines(proc / "cgroup"):
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            paths[name] = path
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        first = kinds[0] == "cgroup" and controller in kinds[2].split(",")
        name = "" if kinds[0] == "cgroup2" else controller
        if (first or not name) and name in paths:
            yield from _upwards(root / fields[4].lstrip("/"), paths[name], fields[3])


def _upwards(mount: Path, path: str, mounted: str) -> Iterator[Path]:
    """`path` as seen from `mount`, which shows the hierarchy from `mounted` on; in a container both may be foreign."""
    inside = path.removeprefix(mounted) if mounted != "/" and path.startswith(mounted) else path
    folder = mount / inside.strip("/")
    if ".." in folder.parts or not folder.is_dir():
        folder = mount
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _words(file: Path) -> list[str]:
    lines = _lines(file)
    return lines[0].split() if lines else []


def _counter(file: Path, name: str) -> float:
    return next((float(line.split()[1]) for line in _lines(file) if line.split()[:1] == [name]), 0.0)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
