"""Whole trainings on a GPU through the real process: half precision learns, memory is accounted for, runs resume."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.journals.events import Begin, Memory, Steps
from engine.paths import write_json
from tests.training.world import (
    build,
    environment,
    plan_of,
    records,
    result,
    start_for_real,
    train_for_real,
    wait_for,
)

pytestmark = pytest.mark.gpu


def test_half_precision_learns_what_single_precision_learns(tmp_path: Path) -> None:
    dices = []
    for precision in ("fp16", "fp32"):
        run = build(
            tmp_path / precision, subjects=12, device="0", shape=(32, 32, 32), knobs={"precision": precision},
            table={"epochs": 20, "model": {"channels": 5}, "optimizer": {"lr": 0.02}, "schedule": {"pct_start": 0.2}},
        ).run(0, 0)
        train_for_real(run)
        dices.append(json.loads(run.results.read_text())["test_dice"])
    assert min(dices) > 0.7
    assert abs(dices[0] - dices[1]) < 0.1


def test_the_begin_names_the_device_as_the_driver_does(tmp_path: Path) -> None:
    run = build(tmp_path, device="auto", shape=(16, 16, 16)).run(0, 0)
    train_for_real(run)
    (begin,) = records(run, Begin)
    assert (begin.device, begin.device_name) == ("cuda:0", torch.cuda.get_device_name(0))


def test_nvml_s_reading_holds_the_trainer_s_memory(tmp_path: Path) -> None:
    table = {"epochs": 100_000, "model": {"channels": 26}, "checkpoints": {"epochs": 0}}  # longer than anybody looks
    run = build(tmp_path, device="0", shape=(64, 64, 64), table=table).run(0, 0)
    process = start_for_real(run)
    try:
        wait_for(run, Memory, process, 2)  # by then convolution algorithms are found, and memory stays as it is
        code = (
            "import sys; from engine.machine.gpu import Gpus; g = Gpus(); r = g.read({int(sys.argv[1])});"
            "print(g.reason or '-'); [print(x.name, x.memory_used, x.memory_total, x.util, x.temperature, x.power, sep='|') for x in r]"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, str(process.pid)], capture_output=True, text=True, check=True, env=environment()
        )
        reason, *lines = done.stdout.splitlines()
        assert reason == "-"
        name, used, total, util, temperature, power = lines[0].split("|")
        assert name == torch.cuda.get_device_name(0)
        told: list[Memory] = records(run, Memory)  # type: ignore[assignment]
        assert int(used) >= told[-1].reserved
        assert int(total) > int(used)
        assert 0 <= float(util) <= 100
        assert 0 < float(temperature) < 120
        assert float(power) > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()


def test_a_resumed_run_on_a_gpu_stays_close_to_an_uninterrupted_one(tmp_path: Path) -> None:
    """Convolutions on a GPU add up in an order of their own; the promise there is a tolerance, not the same bits."""
    table: dict[str, Any] = {"epochs": 2000, "checkpoints": {"epochs": 0}}
    whole = build(tmp_path / "a", device="0", shape=(24, 24, 24), table=table, knobs={"precision": "fp32"}).run(0, 0)
    cut = build(tmp_path / "b", device="0", shape=(24, 24, 24), table=table, knobs={"precision": "fp32"}).run(0, 0)
    train_for_real(whole)
    process = start_for_real(cut)
    try:
        wait_for(cut, Steps, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()
    assert result(cut).outcome == "stopped"
    train_for_real(cut)
    last = [json.loads(run.results.read_text())["final_train_loss"] for run in (whole, cut)]  # of the whole last epoch
    assert last[0] == pytest.approx(last[1], rel=0.1)


def test_a_run_that_began_on_a_cpu_goes_on_on_the_gpu_in_another_layout(tmp_path: Path) -> None:
    """A session without a GPU, then one with it: single precision before, half precision after."""
    paths = build(tmp_path, shape=(16, 16, 16), table={"epochs": 400, "checkpoints": {"epochs": 0}})
    run = paths.run(0, 0)
    process = start_for_real(run)
    try:
        wait_for(run, Steps, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 3
    finally:
        process.kill()
        process.wait()
    plan = plan_of(paths)
    profile = msgspec.structs.replace(plan.profile, knobs=plan.profile.knobs | {"channels_last": True})
    write_json(paths.plan, msgspec.structs.replace(plan, device="0", profile=profile))
    train_for_real(run)
    first, second = records(run, Begin)
    assert (first.device, second.device) == ("cpu", "cuda:0")
    assert second.resumed_from_step > 0
