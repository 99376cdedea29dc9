"""What the folded state does not keep of the journals: ends of epochs and attempts, and what could not be written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from engine.journals.events import AnyRecord, Begin, CheckpointWritten, EpochEnded, Gap, RunEnded, Sample, decode_many
from engine.journals.journal import read
from engine.live.epochs import clocked, own_seconds
from engine.paths import RunPaths

CHUNK = 1 << 20
# Lines of steps are most of a journal, and the state has them: found by their newlines, a million of them take 0.2 s.
BUT_STEPS = re.compile(rb'\n(?!\{"k": ?"steps")([^\n]+)')
WHOLE_BYTES = 1 << 20
READINGS = 300


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch's end. `seconds`: its own; `said`: as the trainer wrote it, `clocked`: since the end of the epoch
    before it by the journal's clock, None where the attempt began in between."""

    epoch: int
    step: int
    steps: int
    seconds: float
    said: float
    clocked: float | None
    loss: float | None
    file: str

    @property
    def cumulative(self) -> bool:
        """Whether what the trainer wrote cannot be this epoch's alone."""
        return self.seconds != self.said


class RunFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run. `checkpoints`: written and verified ones, `unsaved`: those that could not be."""

    epochs: tuple[Epoch, ...] = ()
    segments: tuple[str, ...] = ()
    begins: tuple[Begin, ...] = ()
    checkpoints: int = 0
    unsaved: tuple[CheckpointWritten, ...] = ()
    gaps: tuple[Gap, ...] = ()


def of_run(files: RunPaths) -> RunFiles:
    """Everything but the steps of all attempts; steps that were done again after a resume count once."""
    epochs: dict[int, Epoch] = {}
    begins: list[Begin] = []
    gaps: list[Gap] = []
    unsaved: list[CheckpointWritten] = []
    written = 0
    segments = files.segments()
    for path in segments:
        before: EpochEnded | None = None
        for record in _but_steps(path):
            match record:
                case Begin():
                    begins.append(record)
                    before = None
                    epochs = {n: one for n, one in epochs.items() if one.step <= record.resumed_from_step}
                case EpochEnded():
                    epochs[record.epoch] = _epoch(record, before, f"{files.folder.name}/{path.name}")
                    before = record
                case CheckpointWritten():
                    written += record.verified and not record.error
                    unsaved += [record] if record.error else []
                case Gap():
                    gaps.append(record)
    return RunFiles(
        epochs=tuple(epochs[number] for number in sorted(epochs)),
        segments=tuple(f"{files.folder.name}/{path.name}" for path in segments),
        begins=tuple(begins),
        checkpoints=written,
        unsaved=tuple(unsaved),
        gaps=tuple(gaps),
    )


def _epoch(record: EpochEnded, before: EpochEnded | None, file: str) -> Epoch:
    end = before.m if before is not None else None
    return Epoch(
        epoch=record.epoch,
        step=record.step,
        steps=record.steps,
        seconds=own_seconds(record, end),
        said=record.seconds,
        clocked=clocked(record, end),
        loss=record.loss,
        file=file,
    )


def _but_steps(path: Path) -> Iterator[AnyRecord]:
    """Records of whole lines that do not begin as those of steps do."""
    try:
        with path.open("rb") as file:
            rest = b"\n"
            while read_now := file.read(CHUNK):
                block = rest + read_now
                end = block.rfind(b"\n")
                rest = block[end:]
                yield from decode_many(b"\n".join(BUT_STEPS.findall(block, 0, end)))[0]
    except OSError:
        return


def ended(events: Path) -> tuple[tuple[RunEnded, ...], tuple[Gap, ...]]:
    """How every attempt ended, and what the supervisor could not write."""
    records = read(events)
    return (
        tuple(record for record in records if isinstance(record, RunEnded)),
        tuple(record for record in records if isinstance(record, Gap)),
    )


def readings(machine: Path, until: float) -> tuple[Sample, ...]:
    """The machine's readings up to wall clock `until`: all of a short journal, else evenly spread ones."""
    try:
        size = machine.stat().st_size
        if size <= WHOLE_BYTES:
            found: Sequence[AnyRecord] = read(machine)
        else:
            with machine.open("rb", buffering=0) as file:
                lines = [_line_at(file.fileno(), size * number // READINGS) for number in range(READINGS)]
            found = decode_many(b"\n".join(dict.fromkeys(lines)))[0]
    except OSError:
        return ()
    return tuple(record for record in found if isinstance(record, Sample) and record.t <= until)


def _line_at(descriptor: int, offset: int) -> bytes:
    """The first whole line after `offset`, b'' where there is none in reach."""
    block = os.pread(descriptor, 1 << 14, offset)
    begin = block.find(b"\n") + 1 if offset else 0
    end = block.find(b"\n", begin)
    return block[begin:end] if end > begin else b""
