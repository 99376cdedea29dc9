"""The estimate of a step's memory against a real GPU's allocator."""

from __future__ import annotations

import pytest
import torch

from engine.config.experiment import from_table
from engine.config.profile import Profile, defaults
from engine.memory.budget import budget
from engine.memory.footprint import Footprint, Peak
from engine.memory.vram_budget import ESTIMATE_HIGH, ESTIMATE_LOW
from engine.training import device as devices
from engine.training.learner import Learner
from engine.training.vram import estimate

pytestmark = pytest.mark.gpu
EXPERIMENT = from_table({"prepare": {"shape": [128, 128, 128]}, "model": {"channels": 16}}, "gpu")


def peak(batch: int) -> int:
    """The most reserved in three steps as the trainer does them, after the first one: in that, algorithms are tried."""
    device = torch.device("cuda", 0)
    torch.cuda.empty_cache()
    learner = Learner(EXPERIMENT, Profile(name="x", knobs=defaults() | {"batch_size": batch}), device, 4)
    for number in range(4):
        if number == 1:
            devices.forget_peak(device)
        image = torch.zeros(batch, 1, 128, 128, 128, device=device)
        label = torch.zeros(batch, 128, 128, 128, dtype=torch.uint8, device=device).long()
        with learner.autocast():
            loss = learner.criterion(learner.forward(image), label).total
        learner.scaler.scale(loss).backward()
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        learner.optimizer.zero_grad()
    torch.cuda.synchronize(device)
    return int(torch.cuda.memory_stats(device)["reserved_bytes.all.peak"])


def test_the_estimate_holds_the_measured_peak() -> None:
    found, told = peak(2), estimate(EXPERIMENT, defaults() | {"batch_size": 2}, "cuda")
    print(f"measured {found / 2**20:.0f} MiB, estimated {told.total / 2**20:.0f} MiB: {told.total / found - 1:+.1%}")
    assert ESTIMATE_LOW * told.total < found < ESTIMATE_HIGH * told.total


def test_two_measured_peaks_tell_a_third() -> None:
    peaks = tuple(Peak(batch=batch, bytes=peak(batch)) for batch in (1, 2))
    told = budget(defaults() | {"batch_size": 4}, Footprint(device="cuda", peaks=peaks)).vram.bytes
    assert told == pytest.approx(peak(4), rel=0.08)
