"""The end of a log that is being written: bounded reads, cleaned lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from engine.text import clean

LIMIT = 256 << 10
UNFINISHED = 8 << 10


class Fresh(NamedTuple):
    """What is new: whole lines, the line still being written, whether the log began anew, bytes passed over."""

    lines: list[str]
    unfinished: str = ""
    restarted: bool = False
    skipped: int = 0
    missing: bool = False


class LogTail:
    """Reads the last LIMIT bytes first, then what is added; never more than LIMIT at once, whatever was written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = -1
        self._inode = 0
        self._half = b""

    def read(self) -> Fresh:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return Fresh([], missing=True)
        try:
            info = os.fstat(descriptor)
            restarted = self._offset >= 0 and (info.st_size < self._offset or info.st_ino != self._inode)
            if restarted or self._offset < 0:
                self._offset, self._half = 0, b""
            self._inode = info.st_ino
            start = max(self._offset, info.st_size - LIMIT)
            skipped = start - self._offset
            block = os.pread(descriptor, LIMIT, start)
        except OSError:
            return Fresh([], missing=True)
        finally:
            os.close(descriptor)
        self._offset = start + len(block)
        if skipped:
            # The first line of what was jumped to is only a part of one.
            self._half, block = b"", block[block.find(b"\n") + 1 :]
        whole, newline, half = (self._half + block).rpartition(b"\n")
        self._half = half[-UNFINISHED:]
        lines = [clean(line.decode(errors="replace")) for line in whole.split(b"\n")] if newline else []
        return Fresh(lines, clean(self._half.decode(errors="replace")), restarted, skipped)
