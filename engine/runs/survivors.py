"""Who of an experiment lives on: processes that carry its folder in their environment, whoever their parent is now."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.process import FOLDER, carrying, holding, start_ticks

SCAN_SECONDS = 2.0


class Survivors:
    """One pass over /proc serves every folder for SCAN_SECONDS. May be used from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due = float("-inf")
        self._found: dict[str, list[int]] = {}

    def of(self, folder: Path) -> tuple[int, ...]:
        """Pids, the smallest first. What a look SCAN_SECONDS ago did not find cannot have come since: nobody starts
        processes for an experiment but its supervisor and they themselves."""
        with self._lock:
            if self._clock() >= self._due:
                self._found = carrying(FOLDER)
                self._due = self._clock() + SCAN_SECONDS
            return tuple(sorted(self._found.get(str(folder.resolve()), ())))


SURVIVORS = Survivors()


def left_of(folder: Path, known: tuple[int, ...]) -> tuple[int, ...]:
    """Who lives on but this process, of any of the runs: a sweep knows only its own run's processes (`known`)."""
    found = holding(str(folder), name=FOLDER)
    return tuple(sorted({*(pid for pid in known if start_ticks(pid) is not None), *found} - {os.getpid()}))
