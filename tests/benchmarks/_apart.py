"""Contenders each in a process of its own, so that what one keeps in memory does not slow the forks of another."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, cast

from tests.benchmarks import _rig
from tests.benchmarks._same_patches import Contender, Looked, Work, looked_at


class First(NamedTuple):
    """A first epoch: seconds to the first batch and to the last, what was prepared before it included."""

    patches: int
    ready: float
    seconds: float


class Block(NamedTuple):
    """`rate`: patches per second; `cpu`: seconds of the contender's processes for each; `foreign`: cores that others
    took."""

    rate: float
    cpu: float
    foreign: float


class Apart:
    """One contender; asked one thing at a time. Raises whatever it raised."""

    def __init__(self, make: Callable[[Work], Contender], work: Work) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        # Not a daemon: those may have no workers.
        self._process = context.Process(target=_serve, args=(make, work, theirs, self._ours))
        self._process.start()
        theirs.close()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None) -> None:
        self._ours.close()  # it ends when nobody asks any more
        self._process.join()

    def name(self) -> str:
        return cast(str, self._ask("name"))

    def first(self, patches: int) -> First:
        return cast(First, self._ask("first", patches))

    def look(self, number: int, patches: int) -> Looked:
        return cast(Looked, self._ask("look", number, patches))

    def timed(self, number: int, patches: int) -> Block:
        return cast(Block, self._ask("timed", number, patches))

    def _ask(self, *what: object) -> Any:
        self._ours.send(what)
        found = self._ours.recv()
        if isinstance(found, BaseException):
            raise found
        return found


def _serve(make: Callable[[Work], Contender], work: Work, asked: Connection, other_end: Connection) -> None:
    other_end.close()  # nobody would ever be the last to close it
    ways: dict[str, Callable[..., Any]] = {}
    while True:
        try:
            name, *given = asked.recv()
        except EOFError:
            return
        try:
            ways = ways or _ways(make(work), work)
            asked.send(ways[name](*given))
        except Exception as error:
            asked.send(error)


def _ways(runner: Contender, work: Work) -> dict[str, Callable[..., Any]]:
    """What can be asked of it."""
    return {
        "name": lambda: runner.name, "first": lambda patches: _first(runner, patches),
        "look": lambda number, patches: looked_at(runner.epoch(number, patches)),
        "timed": lambda number, patches: _timed(runner, number, patches, work.workers),
    }


def _first(runner: Contender, patches: int) -> First:
    began = time.perf_counter()
    runner.prepare()
    ends = [time.perf_counter() - began for _ in runner.epoch(1, patches)]
    return First(patches, ends[0], ends[-1])


def _timed(runner: Contender, number: int, patches: int, workers: int) -> Block:
    machine, own, began = _rig._busy(), _rig._own(), time.perf_counter()
    ends, sizes = [], []
    for image, _ in runner.epoch(number, patches):
        ends.append(time.perf_counter())
        sizes.append(len(image))
    wall, spent = time.perf_counter() - began, _rig._own() - own
    at = max(1, workers)  # by then every worker has delivered one
    foreign = max(0.0, (_rig._busy() - machine) - spent) / wall
    return Block(sum(sizes[at:]) / (ends[-1] - ends[at - 1]), spent / sum(sizes), foreign)
