"""logs: a trainer's output, its last lines and then what follows, with nothing in it that a terminal would obey."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from engine.errors import UsageError
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from tui.verbs.common import find, is_running, run_at, say

TAIL_BYTES = 1 << 20
POLL_SECONDS = 0.5


def logs(options: argparse.Namespace) -> int:
    folder = find(options.logs, options.experiment)
    path = _path(folder, options)
    if not path.is_file():
        raise UsageError(f"{path}: there is no such log")
    lines, offset = tail(path, options.lines)
    if not lines and not options.follow:
        whose = "the supervisor" if options.supervisor else "the trainer"
        say(f"{path} is empty: {whose} has printed nothing")
    for line in lines:
        say(line)
    while options.follow:
        fresh, offset = read_from(path, offset)
        for line in fresh:
            say(line)
        if not fresh and not is_running(folder):
            return 0
        time.sleep(POLL_SECONDS)
    return 0


def _path(folder: Path, options: argparse.Namespace) -> Path:
    paths = ExperimentPaths(folder)
    if options.supervisor:
        return paths.supervisor_log
    if options.run is not None:
        return paths.run(*run_at(options.run)).console
    state = Watch(folder).quick()
    return paths.run(*state.run.key.at).console if state.run else paths.prepare_log


def tail(path: Path, count: int) -> tuple[list[str], int]:
    """The last whole lines, and the offset behind them."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        block = file.read(TAIL_BYTES)
    end = block.rfind(b"\n") + 1
    lines = block[:end].decode(errors="replace").splitlines()
    return lines[max(0, len(lines) - count) :], start + end


def read_from(path: Path, offset: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < offset:
            offset = 0
        file.seek(offset)
        block = file.read(TAIL_BYTES)
    end = block.rfind(b"\n") + 1 if len(block) < TAIL_BYTES else len(block)
    return block[:end].decode(errors="replace").splitlines(), offset + end
