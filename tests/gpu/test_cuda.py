"""What steptop claims about CUDA, on a real device: `make test-gpu`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from engine.config.experiment import from_table, resolve_profile
from engine.journals.events import Begin, Memory, PrecisionActive, Record, Steps
from engine.machine.gpu import Gpus
from engine.training.clock import CudaClock
from engine.training.learner import Learner
from engine.training.recorder import ALL_STEPS, Recorder
from engine.training.samples import Batch
from tests.training import world

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

DEVICE = torch.device("cuda", 0)


def learner(channels: int = 5, **knobs: object) -> Learner:
    experiment = from_table({"model": {"channels": channels}, "prepare": {"intensity": "none"}}, "test")
    profile, _ = resolve_profile(experiment, "test", "", {}, dict(knobs))  # type: ignore[arg-type]
    return Learner(experiment, profile, DEVICE, 1000)


def step(model: Learner, recorder: Recorder, image: torch.Tensor, label: torch.Tensor, number: int = 1) -> None:
    """One step as the trainer's loop takes it."""
    lap = recorder.lap
    recorder.fetch(iter([Batch(image, label, [number], 0.0)]))
    with model.autocast():
        logits = model.forward(image)
    lap("forward")
    with model.autocast():
        parts = model.criterion(logits, label)
    lap("loss")
    model.scaler.scale(parts.total).backward()
    lap("backward")
    model.scaler.step(model.optimizer)
    model.scaler.update()
    model.optimizer.zero_grad()
    lap("optimizer")
    recorder.step_ended(number, 1, 1e-3, parts)


def volumes(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    image = torch.rand(1, 1, side, side, side, device=DEVICE)
    return image, (image[:, 0] > 0.9).long()


def test_event_times_agree_with_times_taken_between_synchronisations() -> None:
    """The truth: the same work, waited for before and after."""
    model, written = learner(26), list[Record]()
    clock = CudaClock(DEVICE)
    recorder = Recorder(written.append, clock, line_seconds=0.0, timed_share=ALL_STEPS)
    image, label = volumes(96)
    for number in range(1, 6):
        step(model, recorder, image, label, number)
    recorder.drain()
    written.clear()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for number in range(6, 16):
        step(model, recorder, image, label, number)
    torch.cuda.synchronize()
    truth = time.perf_counter() - began
    recorder.drain()
    lines = [record for record in written if isinstance(record, Steps)]
    assert sum(line.steps for line in lines) == 10
    measured = sum(
        line.spans.forward + line.spans.loss + line.spans.backward + line.spans.optimizer for line in lines
    )
    assert measured == pytest.approx(truth, rel=0.1)


def test_a_step_and_its_telemetry_never_wait_for_the_device() -> None:
    model, written = learner(5), list[Record]()
    recorder = Recorder(written.append, CudaClock(DEVICE), line_seconds=0.0)
    image, label = volumes(48)
    for number in range(1, 4):
        step(model, recorder, image, label, number)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(4, 30):
            step(model, recorder, image, label, number)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    recorder.drain()
    losses = [record.loss for record in written if isinstance(record, Steps)]
    assert losses
    assert all(loss is not None and 0 < loss < 10 for loss in losses)


@pytest.mark.parametrize(
    ("knob", "dtype"), [("auto", "float16"), ("fp16", "float16"), ("bf16", "bfloat16"), ("fp32", "float32")]
)
def test_the_precision_asked_for_is_really_active(knob: str, dtype: str) -> None:
    model = learner(5, precision=knob)
    seen: list[str] = []
    model.ready(lambda active, _where: seen.append(active))
    image, label = volumes(32)
    recorder = Recorder(lambda _: None, CudaClock(DEVICE))
    step(model, recorder, image, label)
    assert seen == [dtype]
    assert model.scaler.is_enabled() == (dtype == "float16")


def test_nvml_reads_every_device_that_torch_sees() -> None:
    gpus = Gpus()
    assert gpus.reason == ""
    seen = gpus.read(set())
    assert len(seen) >= torch.cuda.device_count()
    assert all(gpu.name and gpu.memory_total and gpu.memory_used is not None for gpu in seen)


def test_meshnet26_trains_at_256_cubed_through_the_real_process(tmp_path: Path) -> None:
    """The published size: two epochs of two volumes, fp16; the journal says what it took."""
    paths = world.build(
        tmp_path, subjects=4, shape=(256, 256, 256), device="0",
        table={"model": {"channels": 26}, "optimizer": {"lr": 0.001}}, knobs={"num_workers": 1},
    )
    run = paths.run(0, 0)
    world.train_for_real(run, 550)
    (begin,) = world.records(run, Begin)
    assert isinstance(begin, Begin)
    assert begin.parameters == 147_474
    assert begin.device.startswith("cuda")
    (precision,) = world.records(run, PrecisionActive)
    assert isinstance(precision, PrecisionActive)
    assert precision.active == "float16"
    peaks = [record.peak_allocated for record in world.records(run, Memory) if isinstance(record, Memory)]
    print(f"peak allocated {max(peaks) / 2**30:.1f} GiB on {begin.device_name}")
    # 1893 bytes per voxel of saved activations in fp32, half of it in fp16: about 15 GiB, and workspace.
    assert 10 * 2**30 < max(peaks) < 45 * 2**30
    spans = [record.spans for record in world.records(run, Steps) if isinstance(record, Steps)]
    assert all(span.forward > 0 and span.backward > 0 for span in spans)
