"""Checkpoints that are whole or not there: written aside, forced to the disk, read back, only then given their name.

    step-00000148.pt      a checkpoint; the two newest stay
    final.pt              the state after the last step
    *.json beside each    its digest, size and place in training; without it a checkpoint does not count
    latest.json           the newest one's name

The digest is there before the checkpoint gets its name, so a kill at any moment leaves either a whole checkpoint or
nothing that looks like one. PyTorch's own format notices a truncation, but not a flipped bit.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import torch

from engine.errors import UsageError
from engine.journals.events import CheckpointWritten
from engine.paths import RunPaths, read_json, sync_folder, write_json
from engine.process import start_ticks

FORMAT = 1
BLOCK = 1 << 20
# Room for the new checkpoint beside the old one, and a little for the journals meanwhile.
ROOM = 2.2

State = dict[str, Any]


class CheckpointError(Exception):
    """There are checkpoints, but none of them is whole."""


class ConfigMismatch(UsageError):
    """The run's folder holds checkpoints of another configuration."""


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint must be like. `step` steps are done, in `epoch`."""

    file: str
    sha256: str
    size: int
    step: int
    epoch: int
    config_hash: str
    attempt: int
    torch: str
    format: int = FORMAT


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that is whole, and what had to be passed over to find it."""

    file: str
    step: int
    state: State
    passed_over: tuple[str, ...] = ()


class Store:
    """The checkpoints of one run's folder. `step` is the newest one's, written or loaded; None without any."""

    def __init__(
        self, run: RunPaths, config_hash: str, attempt: int, keep: int = 2,
        after: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`after` is told of every stage of a save as it is over; tests end the process there."""
        self.step: int | None = None
        self._run = run
        self._hash = config_hash
        self._attempt = attempt
        self._keep = keep
        self._after = after
        self._last_size = 0

    # ------------------------------------------------------------ write

    def save(self, state: State, step: int, epoch: int, final: bool = False) -> CheckpointWritten:
        """Write `state` (tensors, numbers, texts, lists and dicts). An OSError is told in the record, not raised."""
        path = self._run.final if final else self._run.checkpoint(step)
        began = time.perf_counter()
        try:
            size = self._write(path, state, step, epoch)
        except OSError as error:
            reason = error.strerror or str(error)
            return CheckpointWritten(
                file=path.name, step=step, epoch=epoch, seconds=time.perf_counter() - began, error=reason
            )
        self.step, self._last_size = step, size
        self._prune()
        return CheckpointWritten(
            file=path.name, step=step, epoch=epoch, bytes=size, seconds=time.perf_counter() - began, verified=True
        )

    def _write(self, path: Path, state: State, step: int, epoch: int) -> int:
        self._check_room()
        temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                hashed = _Hashed(file)
                _save(state, hashed)
                file.flush()
                os.fsync(file.fileno())
                self._after("written")
                size = os.fstat(file.fileno()).st_size
                # Out of the page cache, so that what is read back comes from the disk.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                file.seek(0)
                digest = _digest(file)
            if digest != hashed.digest():
                raise OSError(f"{path.name} reads back differently from what was written: is the disk failing?")
            self._after("verified")
            write_json(sidecar_of(path), Sidecar(
                file=path.name, sha256=digest, size=size, step=step, epoch=epoch, config_hash=self._hash,
                attempt=self._attempt, torch=str(torch.__version__),
            ))
            self._after("described")
            temporary.replace(path)
            sync_folder(path.parent)
            self._after("named")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        write_json(self._run.latest, {"file": path.name, "step": step, "epoch": epoch, "sha256": digest})
        self._after("pointed")
        return size

    def _check_room(self) -> None:
        needed = int(ROOM * self._last_size)
        info = os.statvfs(self._run.folder)
        free = info.f_bavail * info.f_frsize
        if free < needed:
            raise OSError(
                errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {free / 1e6:.2g} MB free, {needed / 1e6:.2g} MB needed"
            )

    def _prune(self) -> None:
        """Only after a newer one has been verified."""
        for path in self._run.checkpoints()[: -self._keep]:
            path.unlink(missing_ok=True)
            sidecar_of(path).unlink(missing_ok=True)

    # ------------------------------------------------------------ read

    def load(self) -> Loaded | None:
        """The newest whole checkpoint; None if there has never been one. What killed writers left is removed.

        Raises CheckpointError if there are checkpoints but none is whole, ConfigMismatch if they are another
        configuration's. Nothing is unpickled before its digest has been found right.
        """
        self._collect_garbage()
        passed_over = []
        for path in self._candidates():
            try:
                sidecar, state = self._read(path)
            except CheckpointError as error:
                passed_over.append(str(error))
                continue
            self.step, self._last_size = sidecar.step, sidecar.size
            return Loaded(file=path.name, step=sidecar.step, state=state, passed_over=tuple(passed_over))
        if passed_over:
            raise CheckpointError(
                f"none of the {len(passed_over)} checkpoints in {self._run.folder} is whole: {'; '.join(passed_over)}. "
                "To train this run from the beginning, move the folder away"
            )
        return None

    def _candidates(self) -> list[Path]:
        """Newest first."""
        final = [self._run.final] if self._run.final.exists() else []
        return final + self._run.checkpoints()[::-1]

    def _read(self, path: Path) -> tuple[Sidecar, State]:
        sidecar = read_json(sidecar_of(path), Sidecar)
        if sidecar is None:
            raise CheckpointError(f"{path.name}: its digest ({sidecar_of(path).name}) is missing or damaged")
        if sidecar.config_hash != self._hash:
            raise ConfigMismatch(
                f"{path} was made with another configuration ({sidecar.config_hash}, this one is {self._hash}): "
                "resume with the settings it was made with, or train under another name"
            )
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != sidecar.size:
                    raise CheckpointError(f"{path.name}: {size} bytes instead of {sidecar.size}")
                if _digest(file) != sidecar.sha256:
                    raise CheckpointError(f"{path.name}: its contents have changed since it was written (sha256)")
                file.seek(0)
                state = torch.load(file, map_location="cpu", weights_only=True)
        except OSError as error:
            raise CheckpointError(f"{path.name}: cannot be read ({error.strerror})") from None
        except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path.name}: torch cannot load it ({error})") from None
        return sidecar, cast(State, state)

    def _collect_garbage(self) -> None:
        for path in self._leftovers():
            path.unlink(missing_ok=True)

    def _leftovers(self) -> Iterator[Path]:
        """Temporary files whose writer is gone (or had this process's number before), and digests of what never was."""
        for path in self._run.folder.glob("step-????????.json"):
            if not path.with_suffix(".pt").exists():
                yield path
        for pattern in ("*.pt.tmp.*", "step-*.json.tmp.*", "final.json.tmp.*", "latest.json.tmp.*"):
            for path in self._run.folder.glob(pattern):
                pid = path.name.partition(".tmp.")[2].split(".")[0]
                if pid.isdigit() and (int(pid) == os.getpid() or start_ticks(int(pid)) is None):
                    yield path


def sidecar_of(path: Path) -> Path:
    return path.with_suffix(".json")


class _Hashed:
    """A file that remembers the digest of what was written to it; torch writes from front to back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._sha.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._sha.hexdigest()


def _save(state: State, file: _Hashed) -> None:
    """torch.save reports a full disk as a RuntimeError of its own; the cause is an OSError."""
    try:
        torch.save(state, cast(BinaryIO, file))
    except RuntimeError as error:
        cause = error.__context__ or error.__cause__
        raise cause if isinstance(cause, OSError) else OSError(5, f"torch could not write it: {error}") from error


def _digest(file: BinaryIO) -> str:
    sha = hashlib.sha256()
    while block := file.read(BLOCK):
        sha.update(block)
    return sha.hexdigest()
