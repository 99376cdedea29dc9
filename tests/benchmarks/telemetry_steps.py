"""What the telemetry costs a training of hundreds of steps a second. `python -m tests.benchmarks.telemetry_steps [STEPS]`

A step of Mimir's network, made small until it takes a few milliseconds, as the trainer's loop has it, with the recorder
(data, laps, the loss and its terms, lines in a journal) and, twice, with one that does nothing. All three turn and turn about in one process, in CPU seconds of this thread: whatever else the machine does meets them alike, and how
far the two bare ones are apart says what the figure is worth. Means of differences without their outer tenths, and on top
what writing a line every quarter of a second takes. Target: at most 0.5 %.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path

import torch

from engine.config.experiment import from_table, resolve_profile
from engine.journals.journal import Writer
from engine.training import tasks
from engine.training.clock import HostClock
from engine.training.learner import Learner
from engine.training.loop import LOOK_SECONDS
from engine.training.losses import Parts
from engine.training.recorder import Recorder
from engine.training.requests import Requests
from engine.training.samples import Batch
from engine.training.stop import Stop
from tests.benchmarks.telemetry import Off

STEPS = 1500
# Width, layers and batch of steps of some milliseconds; Mimir's own small one is 128, 3 and 32.
SIZES = ((16, 1, 16), (32, 1, 32), (64, 2, 32), (128, 3, 32))
Task = tasks.peptides.Peptides


class Timed(Recorder):
    """`lines`: CPU seconds that writing lines took, and looking up what goes into them."""

    lines = 0.0

    def _take_done(self) -> None:
        began = time.thread_time()
        super()._take_done()
        self.lines += time.thread_time() - began

    def _write_line(self) -> None:
        began = time.thread_time()
        super()._write_line()
        self.lines += time.thread_time() - began


class Look:
    """What the loop does between two steps, at most every LOOK_SECONDS."""

    def __init__(self, folder: Path) -> None:
        self.stop, self.requests, self.due = Stop(), Requests(folder / "profile.json"), 0.0

    def __call__(self, at: float) -> None:
        self.stop.check()
        self.requests.next()
        self.due = at + LOOK_SECONDS


def learner(width: int, layers: int, size: int) -> tuple[Learner, Batch]:
    table = {
        "task": "peptides", "data": {"source": "peptides", "subjects": 100},
        "model": {"name": "denoiser", "channels": width, "layers": layers, "heads": 2, "diffusion_steps": 10},
        "loss": {"terms": {"denoising": {"weight": 1.0}, "bound": {"weight": 0.01}}}, "optimizer": {"clip": 1.0},
        "schedule": {"name": "cosine", "warmup_steps": 10},
    }
    experiment = from_table(table, "benchmark")
    profile, _ = resolve_profile(experiment, "benchmark", "", {}, {"num_workers": 0, "batch_size": size})
    made = Learner(experiment, profile, torch.device("cpu"), 10**9)
    example = Task.example(experiment, size)
    return made, example._replace(image=torch.randint(0, 20, example.image.shape, dtype=torch.uint8))


def trained(made: Learner, batch: Batch, number: int, recorder: Recorder | Off, look: Look, seen: list[int]) -> None:
    """A step as engine.training.loop has it."""
    lap = recorder.lap
    if look.stop.asked or recorder.at >= look.due:
        look(recorder.at)
    lr = made.lr
    total: Parts | None = None
    batch = recorder.fetch(repeat(batch))
    seen += batch.indices
    batch = made.to_device(batch)
    lap("h2d")
    with made.autocast():
        outputs = Task.forward(made, batch)
    lap("forward")
    with made.autocast():
        loss = Task.losses(made, outputs, batch, number).share(1)
    lap("loss")
    made.scaler.scale(loss.total).backward()
    lap("backward")
    total = loss if total is None else total.plus(loss)
    norm = made.descend()
    lap("optimizer")
    made.schedule.step()
    recorder.step_ended(number, 1, lr, total, norm)


Taken = list[tuple[float, float, float]]
ORDERS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0), (1, 0, 2), (0, 2, 1))


def taken(made: Learner, batch: Batch, recorder: Timed, look: Look, steps: int) -> Taken:
    """CPU seconds of a bare step, another bare one, and a recorded one, lines apart; so many times in all orders."""
    found, seen, off = Taken(), list[int](), Off()
    for number in range(1, steps + 1):
        took = [0.0, 0.0, 0.0]
        for which in ORDERS[number % len(ORDERS)]:
            before, began = recorder.lines, time.thread_time()
            trained(made, batch, number, recorder if which == 2 else off, look, seen)
            took[which] = time.thread_time() - began - (recorder.lines - before)
        found.append((took[0], took[1], took[2]))
    return found


def trimmed(values: list[float]) -> tuple[float, float]:
    """Mean without the outer tenths, and its standard error."""
    cut = len(values) // 10
    kept = sorted(values)[cut : len(values) - cut]
    return statistics.fmean(kept), statistics.stdev(kept) / len(kept) ** 0.5


def main() -> list[dict[str, float]]:
    """The figures, printed and returned."""
    torch.set_num_threads(1)
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    told = []
    print("width layers batch   ms/step  steps/s  µs more a step   of them lines   bare beside bare   share of a step")
    for width, layers, size in SIZES:
        count = max(100, steps * 16 // width)
        made, batch = learner(width, layers, size)
        with tempfile.TemporaryDirectory() as folder, Writer(Path(folder) / "steps-001.jsonl") as journal:
            recorder, look = Timed(journal.write, HostClock()), Look(Path(folder))
            taken(made, batch, recorder, look, 20)
            recorder.lines = 0.0
            found = taken(made, batch, recorder, look, count)
        lines, step = recorder.lines / count, statistics.median((a + b) / 2 for a, b, _ in found)
        more, error = trimmed([c - (a + b) / 2 for a, b, c in found])
        nothing, _ = trimmed([b - a for a, b, _ in found])
        cost = more + lines
        print(
            f"{width:>5} {layers:>6} {size:>5} {step * 1e3:>9.2f} {1 / step:>8.0f}  {cost * 1e6:>6.1f} ± {error * 1e6:<5.1f}"
            f"  {lines * 1e6:>14.1f}   {nothing * 1e6:>16.1f}   {cost / step * 100:>6.2f} % ± {error / step * 100:.2f}",
            flush=True,
        )
        told.append({"ms": step * 1e3, "us": cost * 1e6, "percent": cost / step * 100, "error": error / step * 100})
    return told


if __name__ == "__main__":
    main()
