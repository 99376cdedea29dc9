"""Append records to a journal and read them back: whole lines only, one writer, bounded reads.

A torn last line is normal (SIGKILL tears a single write at a page boundary; a reader meets half lines all the
time), so a reader never takes bytes after the last newline and a writer truncates to it before appending.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from engine.journals.events import AnyRecord, Gap, Record, decode_many, encode

RETRY_SECONDS = 5.0
FALLOC_FL_KEEP_SIZE = 1
# Records of a larger block fall out of the cache before they are folded: 4 MiB at a time takes half as long again.
CHUNK = 1 << 18


class Writer:
    """Appends records to one file, numbering and stamping them. Never raises for a full disk: it drops, counts,
    and writes a `gap` record when there is room again. Safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.dropped = 0
        self.recovered = 0
        self._reason = ""
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._number = self._repair()

    def _repair(self) -> int:
        """Cut a torn tail off; the number of the last whole record."""
        size = os.fstat(self._fd).st_size
        start = max(0, size - (1 << 16))
        tail = os.pread(self._fd, size - start, start)
        end = tail.rfind(b"\n") + 1
        if start and not end:
            tail, start = os.pread(self._fd, size, 0), 0
            end = tail.rfind(b"\n") + 1
        self.recovered = len(tail) - end
        if self.recovered:
            os.ftruncate(self._fd, start + end)
        records, _ = decode_many(tail[:end].split(b"\n", 1)[-1] if start else tail[:end])
        return records[-1].n if records else 0

    def reserve(self, count: int) -> bool:
        """Set `count` bytes aside behind the present end, for lines that must find room on a full disk too. False where
        the file system cannot, or has no room for that either."""
        with self._lock:
            if self._fd < 0:
                return False
            allocate = ctypes.CDLL(None, use_errno=True).fallocate
            allocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            return int(allocate(self._fd, FALLOC_FL_KEEP_SIZE, os.fstat(self._fd).st_size, count)) == 0

    def write(self, *records: Record, sync: bool = False) -> bool:
        """Append `records`; `sync` forces them to the disk. False if they were dropped."""
        with self._lock:
            return self._write(records, sync)

    def _write(self, records: tuple[Record, ...], sync: bool) -> bool:
        if self._fd < 0 or (self.dropped and time.monotonic() < self._retry_at):
            self.dropped += len(records)
            return False
        batch = (Gap(dropped=self.dropped, reason=self._reason), *records) if self.dropped else records
        wall, mono = time.time(), time.monotonic()
        lines = [
            encode(msgspec.structs.replace(r, n=self._number + i, t=r.t or wall, m=r.m or mono))
            for i, r in enumerate(batch, start=1)
        ]
        block = b"".join(lines)
        try:
            before = os.fstat(self._fd).st_size
            written = os.write(self._fd, block)
            if written != len(block):
                os.ftruncate(self._fd, before)
                raise OSError(28, "only part of a line could be written (disk or quota full)")
            if sync:
                os.fdatasync(self._fd)
        except OSError as error:
            self._reason = error.strerror or str(error)
            self.dropped += len(records)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return False
        self._number += len(batch)
        self.dropped = 0
        return True

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Reader:
    """Follows one journal that may still be growing, may not exist yet, or may be replaced under it."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.damaged = 0
        self._inode: int | None = None

    def read(self, limit: int = CHUNK) -> list[AnyRecord]:
        """New whole records, at most about `limit` bytes of them (more for a single longer line)."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            info = os.fstat(descriptor)
            if self._inode not in (None, info.st_ino) or info.st_size < self.offset:
                self.offset = 0
            self._inode = info.st_ino
            if info.st_size == self.offset:
                return []
            block = os.pread(descriptor, limit, self.offset)
            end = block.rfind(b"\n") + 1
            while not end and len(block) == limit:
                limit *= 2
                block = os.pread(descriptor, limit, self.offset)
                end = block.rfind(b"\n") + 1
        finally:
            os.close(descriptor)
        self.offset += end
        records, damaged = decode_many(block[:end])
        self.damaged += damaged
        return records

    def read_all(self, limit: int = CHUNK) -> Iterator[list[AnyRecord]]:
        """Blocks of records up to the present end."""
        before = -1
        while self.offset != before:
            before = self.offset
            records = self.read(limit)
            if records:
                yield records


def read(path: Path) -> list[AnyRecord]:
    """Every whole record of a finished or growing journal."""
    return [record for block in Reader(path).read_all() for record in block]


def read_ends(
    path: Path, head: int = 1 << 14, tail: int = 1 << 16, end: int | None = None
) -> tuple[list[AnyRecord], int]:
    """The first and last records of a journal however long it is, and the offset to follow it from.

    `end`: read it as if it were only so long.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            size = size if end is None else min(size, end)
            if size <= head + tail:
                block = file.read(size)
                whole = block.rfind(b"\n") + 1
                return decode_many(block[:whole])[0], whole
            first = file.read(head)
            file.seek(size - tail)
            last = file.read(tail)
    except OSError:
        return [], 0
    start, whole = last.find(b"\n") + 1, last.rfind(b"\n") + 1
    records = decode_many(first[: first.rfind(b"\n") + 1])[0] + decode_many(last[start:whole])[0]
    return records, size - tail + whole


def offset_after(path: Path, moment: float, grain: int = 1 << 14) -> int:
    """An offset at the beginning of a line: all records written up to `moment` (wall clock) lie before it, and at most
    about `grain` bytes of later ones. Found in a dozen reads however long the journal is."""
    try:
        with path.open("rb") as file:
            low, high = 0, os.fstat(file.fileno()).st_size
            bound = high  # as `high`, but for a line longer than all of the rest
            while bound - low > grain:
                middle = (low + bound) // 2
                file.seek(middle)
                file.readline()
                record: list[AnyRecord] = []
                while not record and (start := file.tell()) < bound:
                    record = decode_many(file.readline())[0]
                if not record:
                    bound = middle
                elif record[0].t > moment:
                    high = bound = start
                else:
                    low = start
    except OSError:
        return 0
    return high


def write_all(path: Path, records: Iterable[Record]) -> None:
    """A whole journal at once, for recordings made by a program."""
    with Writer(path) as writer:
        writer.write(*records)
