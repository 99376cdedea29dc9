"""Which device trains, when there is one and when there is none."""

from __future__ import annotations

import msgspec
import pytest
import torch

from engine.errors import UsageError
from engine.machine.cores import Machine
from engine.runs.devices import places
from engine.runs.slots import environment
from engine.training import device, needs
from tests.conftest import fake_plan

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


@no_cuda
def test_without_a_gpu_auto_is_the_cpu() -> None:
    assert device.choose("auto").type == ("mps" if torch.backends.mps.is_available() else "cpu")
    assert device.choose("cpu") == torch.device("cpu")


@no_cuda
@pytest.mark.parametrize("wanted", ["0", "cuda", "cuda:1"])
def test_a_gpu_that_is_asked_for_in_vain_is_not_replaced_silently(wanted: str) -> None:
    with pytest.raises(UsageError, match="sees no CUDA device"):
        device.choose(wanted)


@pytest.mark.parametrize("wanted", ["gpu", "cuda:x", "-1"])
def test_a_name_that_is_no_device_is_explained(wanted: str) -> None:
    with pytest.raises(UsageError, match="it is auto, cpu or the number"):
        device.choose(wanted)


def test_a_gpu_that_torch_cannot_use_is_not_passed_over_in_silence() -> None:
    """`auto` then trains on the CPU, a hundred times as long."""
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    said = device.unused("NVIDIA A100-SXM4-80GB", cpu)
    assert said.startswith("NVIDIA A100-SXM4-80GB is there, but torch") and "it would train on the CPU" in said
    assert device.unused("NVIDIA A100-SXM4-80GB", gpu) == device.unused("", cpu) == ""


def test_the_cpu_has_a_name_and_no_memory_of_its_own() -> None:
    assert device.name(torch.device("cpu"))
    assert device.memory(torch.device("cpu")) is None


@pytest.mark.parametrize("named", ["2,3", "3,2", "0,1", "5,0"])
def test_every_trainer_of_several_devices_trains_on_the_one_that_it_is_shown(named: str) -> None:
    """All of them are asked for the first device named; what a slot's trainer sees is its own alone."""
    found = places(named, None, Machine(cores=8))
    plan = msgspec.structs.replace(fake_plan(), device=found.device, devices=found.devices, slots=found.slots)
    shown = [environment(plan, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(found.slots)]
    assert ",".join(shown) == named
    assert [device.index_of(plan.device, one, count=1) for one in shown] == [0, 0]


def test_without_that_a_number_is_the_machines_and_one_too_many_is_refused() -> None:
    assert device.index_of("2", None, 4) == device.index_of("2", "", 4) == device.index_of("2", "0,1,2,3", 4) == 2
    with pytest.raises(UsageError, match="there are 4 CUDA devices, numbered from 0"):
        device.index_of("4", None, 4)


def test_of_several_that_are_shown_a_number_is_still_the_machines() -> None:
    """A trainer started by hand under CUDA_VISIBLE_DEVICES=2,3."""
    assert [device.index_of(number, "2,3", 2) for number in ("2", "3")] == [0, 1]
    with pytest.raises(UsageError, match="shows 2, 3, and numbers are nvidia-smi's"):
        device.index_of("0", "2,3", 2)
    assert device.index_of("1", "GPU-aa,GPU-bb", 2) == 1


def test_of_several_devices_the_one_with_the_least_room_is_what_a_run_must_fit() -> None:
    """Whichever is named first: bytes there, and in use by others."""
    roomy, crowded, small = (80, 0), (80, 70), (16, 0)
    assert needs.tightest([roomy, small, crowded]) == crowded
    assert needs.tightest([small, roomy]) == needs.tightest([roomy, small]) == small
    assert needs.tightest([roomy, (None, 0)]) == (None, 0)
