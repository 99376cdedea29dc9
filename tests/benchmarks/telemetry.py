"""What measuring costs a step: the recorder on and off in turns. `python -m tests.benchmarks.telemetry`

Target: at most 50 µs a step, and at most 0.5 % of a 50 ms step. The host part only; CUDA events are timed on a CUDA
device if there is one.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor

from engine.journals.events import Record
from engine.journals.journal import Writer
from engine.training.clock import Clock, CudaClock, HostClock
from engine.training.losses import Parts
from engine.training.recorder import ALL_STEPS, NO_LAP, Recorder
from engine.training.samples import Batch

STEPS = 5_000
PAIRS = 15
REAL_STEP_SECONDS = 0.05
REAL_STEPS = 10
REAL_PAIRS = 20

Loop = Callable[[int], None]


class Off:
    """No recorder: what the loop costs by itself."""

    at = 0.0
    lap = staticmethod(NO_LAP)

    def fetch(self, batches: Iterator[Batch]) -> Batch:
        return next(batches)

    def step_ended(
        self, _number: int, _epoch: int, _lr: float | None, _loss: Parts, _norm: Tensor | None = None
    ) -> None: ...


def steps(recorder: Recorder | Off, parts: Parts, work: Callable[[], None], count: int) -> float:
    """CPU seconds a step, over `count` steps with the laps of the real loop. The recorder never blocks, so this thread's
    CPU time is what it costs, and another program's use of the core is not counted."""
    batches = repeat(Batch(torch.zeros(1), torch.zeros(1), [0], 0.0))
    began = time.thread_time()
    for number in range(1, count + 1):
        lap = recorder.lap
        recorder.fetch(batches)
        lap("h2d")
        lap("forward")
        lap("loss")
        work()
        lap("backward")
        lap("optimizer")
        recorder.step_ended(number, 1, 1e-3, parts)
    return (time.thread_time() - began) / count


def spin(seconds: float) -> Callable[[], None]:
    """Work of so many CPU seconds."""

    def work() -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    return work


def pairs(recorder: Recorder, parts: Parts, work: Callable[[], None], count: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds a step with and without, in turns, so that what else the machine does meets both alike."""
    on, off = [], []
    for turn in range(repeats):
        order = (on, off) if turn % 2 else (off, on)
        for side in order:
            side.append(steps(recorder if side is on else Off(), parts, work, count))
    return on, off


def measure(clock: Clock, loss: Tensor, write: Callable[[Record], object]) -> dict[str, float]:
    recorder, parts = Recorder(write, clock, timed_share=ALL_STEPS), Parts(loss, {})
    on, off = pairs(recorder, parts, lambda: None, STEPS, PAIRS)
    cost = [a - b for a, b in zip(on, off, strict=True)]
    real_on, real_off = pairs(recorder, parts, spin(REAL_STEP_SECONDS), REAL_STEPS, REAL_PAIRS)
    ratios = [a / b for a, b in zip(real_on, real_off, strict=True)]
    return {
        "microseconds_per_step": statistics.median(cost) * 1e6,
        "microseconds_per_step_p90": statistics.quantiles(cost, n=10)[-1] * 1e6,
        "percent_of_50_ms": statistics.median(cost) / REAL_STEP_SECONDS * 100,
        "percent_measured_on_50_ms_steps": (statistics.median(ratios) - 1) * 100,
        "percent_measured_error": 100 * statistics.stdev(ratios) / len(ratios) ** 0.5,
    }


def main() -> dict[str, float]:
    """The figures, printed and returned."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, Writer(Path(folder) / "steps-001.jsonl") as journal:
        figures = measure(HostClock(), torch.tensor(0.5), journal.write)
        if torch.cuda.is_available():
            device = torch.device("cuda", 0)
            cuda = measure(CudaClock(device), torch.tensor(0.5, device=device), journal.write)
            figures |= {f"cuda_{name}": value for name, value in cuda.items()}
    for name, value in figures.items():
        print(f"{name:<36} {value:8.3f}")
    if not torch.cuda.is_available():
        print("CUDA events: not measured, no CUDA device here")
    return figures


if __name__ == "__main__":
    main()
