"""What the telemetry costs a training of hundreds of steps a second. `python -m tests.benchmarks.telemetry_steps`

The very loop of the trainer, on Mimir's small network made smaller until a step takes a few milliseconds, beside a bare
one that takes the same batches through the same network and optimizer and writes nothing. Turn and turn about in one
process, in CPU seconds of this thread, so that what else the machine does meets both alike. `share` is what the trainer's
loop takes more, of a step; the recorder alone is `telemetry`. Target: at most 0.5 %.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import torch

from engine.config.experiment import from_table, resolve_profile
from engine.journals.journal import Writer
from engine.training import tasks
from engine.training.clock import HostClock
from engine.training.learner import Learner
from engine.training.losses import Parts
from engine.training.recorder import Recorder
from engine.training.requests import Requests
from engine.training.samples import Batch
from engine.training.stop import Stop

STEPS, PAIRS = 300, 40
# Width, layers and batch of steps from a fraction of a millisecond to ten.
SIZES = ((16, 1, 16), (32, 1, 32), (64, 2, 32), (128, 3, 32))


def learner(width: int, layers: int, batch: int) -> tuple[Learner, Batch]:
    table = {
        "task": "peptides", "data": {"source": "peptides", "subjects": 100},
        "model": {"name": "denoiser", "channels": width, "layers": layers, "heads": 2, "diffusion_steps": 10},
        "loss": {"terms": {"denoising": {"weight": 1.0}, "bound": {"weight": 0.01}}}, "optimizer": {"clip": 1.0},
        "schedule": {"name": "cosine", "warmup_steps": 10},
    }
    experiment = from_table(table, "benchmark")
    profile, _ = resolve_profile(experiment, "benchmark", "", {}, {"num_workers": 0, "batch_size": batch})
    made = Learner(experiment, profile, torch.device("cpu"), 10**9)
    example = tasks.peptides.Peptides.example(experiment, batch)
    clean = torch.randint(0, 20, example.image.shape, dtype=torch.uint8)
    return made, example._replace(image=clean)


def bare(made: Learner, batches: Iterator[Batch], count: int) -> float:
    """CPU seconds a step of what trains, and nothing else."""
    task = tasks.peptides.Peptides
    began = time.thread_time()
    for number in range(count):
        batch = made.to_device(next(batches))
        with made.autocast():
            outputs = task.forward(made, batch)
        with made.autocast():
            loss = task.losses(made, outputs, batch, number)
        made.scaler.scale(loss.total).backward()
        made.descend()
        made.schedule.step()
    return (time.thread_time() - began) / count


def recorded(made: Learner, batches: Iterator[Batch], count: int, recorder: Recorder, requests: Requests, stop: Stop) -> float:
    """The same with all that engine.training.loop does around it: spans, losses, a look for a stop and for a profile."""
    task, span, seen, due = tasks.peptides.Peptides, recorder.span, [], time.monotonic() + 3600
    recorder.resume()
    began = time.thread_time()
    for number in range(1, count + 1):
        stop.check()
        requests.next()
        lr = made.lr
        total: Parts | None = None
        with span("data"):
            batch = next(batches)
        recorder.loaded(len(batch.indices), batch.load_seconds, batch.load_squares, batch.load_cpu)
        seen += batch.indices
        with span("h2d"):
            batch = made.to_device(batch)
        with span("forward"), made.autocast():
            outputs = task.forward(made, batch)
        with span("loss"), made.autocast():
            loss = task.losses(made, outputs, batch, number).share(1)
        with span("backward"):
            made.scaler.scale(loss.total).backward()
        total = loss.detached() if total is None else total.plus(loss)
        recorder.loss(total)
        with span("optimizer"):
            made.descend()
        made.schedule.step()
        recorder.step_ended(number, 1, lr)
        if time.monotonic() >= due:
            break
    recorder.drain()
    return (time.thread_time() - began) / count


def main() -> list[dict[str, float]]:
    """The figures, printed and returned."""
    torch.set_num_threads(1)
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    told = []
    print("width layers batch   ms/step  steps/s   µs more a step (90 % interval)    share of a step")
    for width, layers, size in SIZES:
        made, batch = learner(width, layers, size)
        with tempfile.TemporaryDirectory() as folder, Writer(Path(folder) / "steps-001.jsonl") as journal:
            recorder = Recorder(journal.write, HostClock())
            requests, stop, batches = Requests(Path(folder) / "profile.json"), Stop(), repeat(batch)
            count = max(30, STEPS * 16 // width)
            bare(made, batches, count)
            more, plain = [], []
            for turn in range(pairs):
                if turn % 2:
                    off = bare(made, batches, count)
                    on = recorded(made, batches, count, recorder, requests, stop)
                else:
                    on = recorded(made, batches, count, recorder, requests, stop)
                    off = bare(made, batches, count)
                more.append(on - off)
                plain.append(off)
        step, cost = statistics.median(plain), statistics.median(more)
        low, high = (statistics.quantiles(more, n=20)[i] for i in (0, -1))
        error = 1.25 * statistics.stdev(more) / len(more) ** 0.5
        print(
            f"{width:>5} {layers:>6} {size:>5} {step * 1e3:>9.2f} {1 / step:>8.0f}   {cost * 1e6:>6.1f} ± {error * 1e6:.1f}"
            f"  ({low * 1e6:.1f} to {high * 1e6:.1f}){'':>6}{cost / step * 100:>6.2f} % ± {error / step * 100:.2f}",
            flush=True,
        )
        told.append({"ms": step * 1e3, "microseconds": cost * 1e6, "percent": cost / step * 100, "error": error / step * 100})
    return told


if __name__ == "__main__":
    main()
