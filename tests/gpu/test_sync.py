"""Nothing in a step of the real loop waits for the device, and what is read later is right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.journals.events import Steps
from engine.journals.journal import Writer, read
from engine.training.clock import CudaClock
from engine.training.job import read as read_job
from engine.training.loop import Trainer
from engine.training.losses import Parts
from engine.training.stop import Stop
from tests.training.world import build

pytestmark = pytest.mark.gpu


@contextmanager
def a_sync_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def work(a: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        a = torch.tanh(a @ a)
    return a


def test_a_loss_arrives_unharmed_without_waiting_for_it(cuda: torch.device) -> None:
    clock = CudaClock(cuda)
    a = torch.rand(4096, 4096, device=cuda)
    work(a, 2)
    torch.cuda.synchronize()
    with a_sync_is_an_error():
        work(a, 50)
        slots = [clock.keep(Parts(torch.full((), float(i), device=cuda), {}), None) for i in range(100)]
        behind = not clock.arrived(slots[-1])
    clock.wait()
    assert behind, "the host was ahead of the device"
    assert [clock.numbers(slot)[0] for slot in slots] == [float(i) for i in range(100)]


@pytest.mark.parametrize("knobs", [{"precision": "auto"}, {"precision": "fp32"}, {"precision": "bf16", "accumulate_steps": 2}])
def test_no_step_waits_for_the_device(cuda: torch.device, tmp_path: Path, knobs: dict[str, Any]) -> None:
    """The real loop's step, with CUDA told to raise at any synchronisation."""
    paths = build(
        tmp_path, subjects=20, shape=(48, 48, 48), device="0", knobs={"pin_memory": True} | knobs,
        table={"model": {"channels": 16}},
    )
    job = read_job(paths.run(0, 0).folder)
    with Writer(job.run.segment(1)) as journal:
        trainer = Trainer(job, journal, Stop(), time.monotonic(), line_seconds=0.0)
        trainer.start()
        trainer.open_epoch()
        batches = trainer.feed.epoch(1)
        for _ in range(2):  # convolution algorithms are tried, memory is taken
            trainer.train_step(batches)
        torch.cuda.synchronize()
        with a_sync_is_an_error():
            for _ in range(2):
                trainer.train_step(batches)
        trainer.recorder.drain()
        trainer.resources.close()
    lines = [record for record in read(job.run.segment(1)) if isinstance(record, Steps)]
    assert sum(line.steps for line in lines) == 4
    assert all(line.spans.forward > 0 and line.spans.backward > 0 and line.spans.optimizer > 0 for line in lines)
