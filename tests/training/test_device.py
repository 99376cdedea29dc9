"""Which device trains, when there is one and when there is none."""

from __future__ import annotations

import pytest
import torch

from engine.errors import UsageError
from engine.training import device

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
    with pytest.raises(UsageError, match="it is auto, cpu, mps or the number"):
        device.choose(wanted)


def test_the_cpu_has_a_name_and_no_memory_of_its_own() -> None:
    assert device.name(torch.device("cpu"))
    assert device.memory(torch.device("cpu")) is None
