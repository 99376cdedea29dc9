"""What `steptop check` says a training takes, beside what it took: RAM of all its processes, and a checkpoint.

The four experiments that need no data, each really trained for an epoch or two with its own profile, validation,
reconstruction and evaluation among it. RAM is PSS without mapped files, as the sampler reads it, of the trainer and
everything it started: its median while steps are made, and the most it was at any moment. VRAM is told and measured on
a machine with a GPU only; on others that column says so.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from engine.config.knob import Value
from engine.journals.events import Memory, Steps
from engine.journals.journal import read
from engine.journals.records import ProcessInfo
from engine.live.state import ENDED
from engine.live.watch import Watch
from engine.machine.sampler import smaps
from engine.paths import ExperimentPaths, RunPaths, read_json
from engine.process import descendants
from engine.runs import control, launch
from engine.runs.launch import Request

LOOK_SECONDS = 0.2
PATIENCE_SECONDS = 560.0
MIB = 1 << 20
# Epochs, and what is set besides: short, and with all that a training does.
TRAININGS: dict[str, tuple[int, dict[str, Value]]] = {
    "quickstart": (2, {"val_every_epochs": 1}),
    "vesuvius-small": (1, {"val_every_epochs": 1}),
    "stroke-small": (1, {"val_every_epochs": 1, "reconstruct_every_epochs": 1}),
    "mimir-quick": (1, {"steps_per_epoch": 120}),
}


class Measured(NamedTuple):
    """Bytes; `most` of RAM at any moment, `steps` the median while steps were made."""

    most: int
    steps: int
    checkpoint: int
    vram: int | None


def trained(name: str, logs: Path) -> tuple[dict[str, Any], Measured]:
    epochs, settings = TRAININGS[name]
    variants = {"stroke-small": ("mkdc-ds",)}.get(name)
    request = Request(
        experiment=name, logs=logs, name=name, epochs=epochs, folds=(0,), restarts=1, variants=variants,
        settings=settings, override_locks=True, command=("a benchmark",),
    )
    plan = launch.plan_for(request)
    found, raw = launch.check(plan)
    if not found.ok:
        raise SystemExit(f"{name}: {'; '.join(found.errors)}")
    folder = launch.start(request, plan)
    paths = ExperimentPaths(folder)
    run = paths.run(*plan.runs[0].at)
    readings = followed(paths, run)
    if not run.final.exists():
        raise SystemExit(f"{name} did not end: {run.console.read_text(errors='replace')[-500:]}")
    records = [record for segment in run.segments() for record in read(segment)]
    stepping = [record.t for record in records if isinstance(record, Steps)]
    while_steps = [size for at, size in readings if stepping[0] <= at <= stepping[-1]] or [0]
    peaks = [record.peak_reserved for record in records if isinstance(record, Memory)]
    return msgspec.json.decode(raw), Measured(
        max(size for _, size in readings), int(median(while_steps)), run.final.stat().st_size, max(peaks, default=None)
    )


def followed(paths: ExperimentPaths, run: RunPaths) -> list[tuple[float, int]]:
    """When, and how much the trainer and what it started held, until it ends; ended by force when it takes too long."""
    watch, readings, deadline = Watch(paths.folder), [], time.monotonic() + PATIENCE_SECONDS
    while watch.poll().phase not in ENDED:
        info = read_json(run.process, ProcessInfo)
        if info is not None:
            pids = (info.who.pid, *descendants(info.who.pid))
            readings.append((time.time(), sum(memory[1] for pid in pids if (memory := smaps(pid)) is not None)))
        if time.monotonic() > deadline:
            control.request(paths, "stop_force", by="a benchmark")
            deadline += PATIENCE_SECONDS
        time.sleep(LOOK_SECONDS)
    return readings


def line(name: str, told: dict[str, Any], found: Measured) -> str:
    memory = told["memory"]
    checkpoint = memory.get("checkpoint", 0)
    inside = "inside" if memory["ram_low"] <= found.most <= memory["ram_high"] else "OUTSIDE"
    vram = f"{memory.get('step', 0) / MIB:.0f} / {found.vram / MIB:.0f}" if found.vram else "no GPU here"
    return (
        f"{name:<16}{memory['ram'] / MIB:>8.0f} ({memory['ram_low'] / MIB:.0f}–{memory['ram_high'] / MIB:.0f})"
        f"{found.most / MIB:>10.0f}{memory['ram'] / found.most:>8.2f} {inside:<8}{found.steps / MIB:>10.0f}"
        f"{checkpoint / MIB:>12.2f}{found.checkpoint / MIB:>10.2f}{checkpoint / found.checkpoint:>8.2f}   {vram}"
    )


def main() -> int:
    names = sys.argv[1:] or list(TRAININGS)
    print(
        f"{'MiB':<16}{'RAM told (range)':>20}{'most':>10}{'ratio':>8} {'range':<8}{'in steps':>10}"
        f"{'checkpoint told':>16}{'real':>6}{'ratio':>8}   VRAM told / real"
    )
    logs = Path(tempfile.mkdtemp(prefix="steptop-memory-"))
    try:
        for name in names:
            print(line(name, *trained(name, logs)), flush=True)
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
