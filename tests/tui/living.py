"""A recorded experiment brought to now, and grown: what a dashboard meets while a training runs, without a training.

`python -m tests.tui.living FOLDER` stands for supervisor, sampler and trainer until it is ended: four records of steps a
second, a reading of the machine every two seconds, each unlike the one before.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import msgspec

from engine.journals.events import Begin, CheckpointWritten, EpochEnded, Sample, Spans, Steps
from engine.journals.journal import Writer, read, write_all
from engine.journals.records import ProcessInfo, SupervisorInfo
from engine.live.watch import records_of
from engine.paths import ExperimentPaths, write_json
from engine.process import boot_id, ident
from tests.recordings import write_recording

STEP_SECONDS = 0.25


def make(folder: Path, kind: str = "compute", at: float = 0.25, name: str = "") -> Path:
    """A recording whose last line was written just now."""
    write_recording(folder, kind, at, name)
    journals = records_of(folder)
    last = max(record.t for records in journals.values() for record in records)
    shift, mono = time.time() - last, time.monotonic() - last
    for file, records in journals.items():
        moved = [msgspec.structs.replace(r, t=r.t + shift, m=r.t + mono) for r in records]
        moved = [msgspec.structs.replace(r, boot_id=boot_id()) if isinstance(r, Begin) else r for r in moved]
        (folder / file).unlink()
        write_all(folder / file, moved)
    return folder


def claim(folder: Path, pid: int | None = None) -> None:
    """Let `pid` (this process) stand for the supervisor and for the trainer of the last run."""
    paths = ExperimentPaths(folder)
    who = ident(pid or os.getpid())
    assert who is not None
    write_json(paths.supervisor, SupervisorInfo(who=who, started=time.time()))
    last = max((p for p in folder.glob("fold_*/steps-*.jsonl") if p.stat().st_size), key=lambda p: p.stat().st_mtime_ns)
    info = ProcessInfo(who=who, supervisor=who, token="t", argv=(), attempt=1, started=0.0, started_monotonic=0.0)
    write_json(last.parent / "process.json", info)


def grow(folder: Path) -> None:
    """For ever."""
    claim(folder)
    paths, rng = ExperimentPaths(folder), random.Random(1)
    journal = max(
        (p for p in folder.glob("fold_*/steps-*.jsonl") if p.stat().st_size), key=lambda p: p.stat().st_mtime_ns
    )
    records = read(journal)
    begin = next(r for r in records if isinstance(r, Begin))
    last = next(r for r in reversed(records) if isinstance(r, Steps))
    sample = next(r for r in reversed(read(paths.machine)) if isinstance(r, Sample))
    step, loss = last.step, last.loss or 0.5
    with Writer(journal) as steps, Writer(paths.machine) as machine:
        for tick in range(1_000_000):
            step += 1
            loss = max(0.05, loss * rng.uniform(0.985, 1.01))
            seconds = STEP_SECONDS * rng.uniform(0.9, 1.1)
            epoch = (step - 1) // begin.steps_per_epoch + 1
            steps.write(
                Steps(
                    epoch=epoch,
                    step=step,
                    steps=1,
                    seconds=seconds,
                    low=seconds,
                    high=seconds,
                    samples=1,
                    loss=loss,
                    lr=7e-4,
                    spans=Spans(
                        data=seconds * 0.05,
                        h2d=seconds * 0.02,
                        forward=seconds * 0.3,
                        loss=seconds * 0.02,
                        backward=seconds * 0.55,
                        optimizer=seconds * 0.05,
                    ),
                    load_seconds=0.4 * rng.uniform(0.9, 1.1),
                    loads=1,
                )
            )
            if step % begin.steps_per_epoch == 0:
                steps.write(
                    EpochEnded(epoch=epoch, step=step, steps=begin.steps_per_epoch, seconds=37.0, loss=loss),
                    CheckpointWritten(
                        file=f"step-{step:08d}.pt", step=step, epoch=epoch, bytes=1_800_000, seconds=0.3, verified=True
                    ),
                )
            if tick % 8 == 0:
                machine.write(_unlike(sample, rng))
            time.sleep(STEP_SECONDS)


def _unlike(sample: Sample, rng: random.Random) -> Sample:
    """Another reading: every figure moves."""
    gpus = tuple(
        msgspec.structs.replace(
            gpu,
            util=float(rng.randrange(80, 100)),
            temperature=float(rng.randrange(60, 70)),
            power=rng.uniform(300, 390),
            memory_used=round((gpu.memory_used or 0) * rng.uniform(0.98, 1.0)),
        )
        for gpu in sample.gpus
    )
    return msgspec.structs.replace(
        sample,
        n=0,
        t=0.0,
        m=0.0,
        cpu=sample.cpu * rng.uniform(0.7, 1.3),
        own_cpu=sample.own_cpu * rng.uniform(0.7, 1.3),
        ram_available=round(sample.ram_available * rng.uniform(0.97, 1.0)),
        disk_read=rng.uniform(1e6, 3e7),
        disk_write=rng.uniform(1e4, 1e5),
        gpus=gpus,
    )


if __name__ == "__main__":
    grow(Path(sys.argv[1]))
