"""Room on the disk of an experiment: whether any is left, and what is said when none is."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from engine.errors import DISK_FULL, UsageError
from engine.journals import journal
from engine.journals.events import Sample, Verdict
from engine.paths import ExperimentPaths, write_atomic

# With less than this nothing is begun.
START_BYTES = 50_000_000
# With less than this not even a few small files have room.
FULL_BYTES = 1 << 18
# What a journal may still say on a full disk: some hundred lines.
LAST_WORDS_BYTES = 1 << 16
# Seconds before an end in which a full /dev/shm may have to do with it.
RECENT = 30.0
FULL = "the disk is full"
OTHER_LOGS = "choose another folder with --logs DIR"
GOES_ON = f"{FULL}: training goes on unseen, and unsaved, until some space is free"


def writable(logs: Path, *otherwise: str) -> None:
    """Raises UsageError unless folders can be made under `logs` and something fits on its disk; its text ends with what
    would mend that, and what could be done `otherwise`."""
    try:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = logs / f".probe-{os.getpid()}"
        write_atomic(probe, b"x" * 4096)
        probe.unlink()
    except OSError as error:
        mend = "free some space" if error.errno in DISK_FULL else "give yourself the right to write there"
        raise UsageError(f"{logs} cannot be written ({error.strerror}): {' or '.join((mend, *otherwise))}") from None
    if shutil.disk_usage(logs).free < START_BYTES:
        raise UsageError(f"{logs}: less than 50 MB free on its disk; {' or '.join(('free some', *otherwise))}")


def is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False


def shm_share(experiment: Path, shm: Path = Path("/dev/shm")) -> float | None:  # noqa: S108  looked at alone
    """The most of /dev/shm that was used in the last half minute, by the machine's journal and by a look now: its files
    are gone as soon as the last process that holds them is."""
    machine = [one for one in journal.read_ends(ExperimentPaths(experiment).machine)[0] if isinstance(one, Sample)]
    shares = [one.shm_used / one.shm_total for one in machine if one.shm_total and time.time() - one.t < RECENT]
    with contextlib.suppress(OSError):
        found = shutil.disk_usage(shm)
        shares.append(1 - found.free / found.total if found.total else 0.0)
    return max(shares, default=None)


class Room:
    """Looks at the disk of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full = False

    def has_filled_up(self) -> bool:
        """True once, each time the room is gone."""
        before, self._full = self._full, is_full(self._folder)
        return self._full and not before


def failure(error: Exception, folder: Path) -> tuple[str, Verdict | None]:
    """An error of the supervisor's own in words; a verdict if it is that the disk is full."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        text = f"{FULL}: {error.filename or folder} could not be written"
        return text, Verdict(kind="disk_full", text=text, advice="free some space, then `steptop resume`")
    return f"steptop's supervisor failed: {type(error).__name__}: {error}", None
