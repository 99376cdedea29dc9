"""A run of several devices' trains on the GPU that its slot shows it, whatever number that has on the machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.journals.events import Begin
from engine.paths import write_json
from engine.runs.slots import environment
from tests.training.world import build, plan_of, records, train_for_real

pytestmark = pytest.mark.gpu


def test_the_second_of_two_devices_is_the_only_one_that_its_trainer_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `--devices 7,0` has it: the plan's device is 7, and this machine's one GPU is the second slot's."""
    paths = build(tmp_path, device="7", shape=(16, 16, 16))
    plan = msgspec.structs.replace(plan_of(paths), devices=("7", "0"), slots=2)
    write_json(paths.plan, plan)
    for name, value in environment(plan, 1).items():
        monkeypatch.setenv(name, value)
    run = paths.run(0, 0)
    train_for_real(run)
    (begin,) = records(run, Begin)
    assert isinstance(begin, Begin) and begin.device == "cuda:0"
