"""timings.json of a logs folder: what ended experiments tell the next ones, so that nobody reads their journals twice.

A cache and no more: whoever looks adds what has ended since, and without the file it is made anew from the journals.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.eta.calibration import Residual, calibrated
from engine.eta.earlier import Earlier
from engine.eta.lessons import timings_of
from engine.eta.replayed import foretold, residuals
from engine.eta.tested import timings_of_test
from engine.eta.timing import KeyTiming
from engine.journals.journal import Reader
from engine.journals.records import SupervisorInfo
from engine.live.history import History
from engine.live.state import ExperimentState, new_experiment
from engine.paths import RUNS, ExperimentPaths, experiments_in, read_json, timings_file, write_json
from engine.process import alive

FORMAT = 5
# So many experiments are known; reading new ones may take so long at a time, the rest is read the next time.
MOST = 200
LOOK_SECONDS = 5.0
# Journals longer than this are not replayed for residuals: half a million steps took some seconds.
REPLAYED_BYTES = 32 << 20


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment. `stamp`: size and time of its events when it was read. `timings` empty: it had no whole epoch."""

    name: str
    stamp: tuple[int, int]
    created: float = 0.0
    timings: tuple[KeyTiming, ...] = ()
    residuals: tuple[Residual, ...] = ()


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Newest experiment first."""

    format: int = FORMAT
    experiments: tuple[Entry, ...] = ()


def refresh(logs: Path, seconds: float = LOOK_SECONDS) -> Timings:
    """What is known after reading the experiments that have ended since. Where nothing may be written it is known all
    the same."""
    held = _read(timings_file(logs))
    known, deadline = {entry.name: entry for entry in held.experiments}, time.monotonic() + seconds
    found: list[Entry] = []
    for folder in experiments_in(logs)[:MOST] if logs.is_dir() else []:
        entry, stamp = known.get(folder.name), _stamp(ExperimentPaths(folder).events)
        if (entry is None or entry.stamp != stamp) and not _running(folder) and time.monotonic() <= deadline:
            entry = _entry(folder, stamp)
        if entry is not None:
            found.append(entry)
    fresh = Timings(experiments=tuple(sorted(found, key=lambda entry: entry.created, reverse=True)))
    if fresh != held and found:
        with contextlib.suppress(OSError):
            write_json(timings_file(logs), fresh)
    return fresh


def earlier(logs: Path, apart: str = "", before: float | None = None) -> Earlier:
    """What timings.json tells the experiment `apart`; `before`: only of experiments launched before that moment."""
    path = timings_file(logs)
    return _told(path, _stamp(path), apart, before)


def history(logs: Path) -> list[KeyTiming]:
    """Step times of earlier experiments in this logs folder, newest first; of one under way as far as it has come."""
    known = refresh(logs)
    names = {entry.name for entry in known.experiments}
    running = [folder for folder in experiments_in(logs)[:MOST] if folder.name not in names] if logs.is_dir() else []
    now = [timing for folder in running for timing in _timings(_state(folder))]
    return [*now, *(timing for entry in known.experiments for timing in entry.timings)]


def _entry(folder: Path, stamp: tuple[int, int]) -> Entry:
    state = _state(folder)
    if state is None:
        return Entry(name=folder.name, stamp=stamp)
    left: Sequence[Residual] = ()
    if state.plan.test is None and state.runs_finished and _size(folder) < REPLAYED_BYTES:
        left = residuals(foretold(folder))
    created = state.plan.created
    return Entry(name=folder.name, stamp=stamp, created=created, timings=_timings(state), residuals=tuple(left))


def _state(folder: Path) -> ExperimentState | None:
    paths = ExperimentPaths(folder)
    plan = read_json(paths.plan, Plan)
    if plan is None:
        return None
    state = msgspec.structs.replace(new_experiment(str(folder), plan), prepared=read_json(paths.data, Prepared))
    return History(paths, Reader).fold(state)


def _timings(state: ExperimentState | None) -> tuple[KeyTiming, ...]:
    if state is None:
        return ()
    if state.plan.test is not None:
        return timings_of_test(state)
    return timings_of(state)


def _running(folder: Path) -> bool:
    info = read_json(ExperimentPaths(folder).supervisor, SupervisorInfo)
    return info is not None and alive(info.who)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob(f"{RUNS}/steps-*.jsonl"))


def _read(path: Path) -> Timings:
    found = read_json(path, Timings)
    return found if found is not None and found.format == FORMAT else Timings()


@lru_cache(maxsize=64)
def _told(path: Path, _stamp: tuple[int, int], apart: str, before: float | None) -> Earlier:
    entries = [
        entry
        for entry in _read(path).experiments
        if entry.name != apart and (before is None or entry.created < before)
    ]
    timings = tuple(timing for entry in entries for timing in entry.timings)
    return Earlier(timings, calibrated(left for entry in entries for left in entry.residuals))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        info = path.stat()
    except OSError:
        return 0, 0
    return info.st_size, info.st_mtime_ns
