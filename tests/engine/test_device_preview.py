"""Which GPU a training would get, told before it: of several, that which CUDA_VISIBLE_DEVICES shows it."""

from __future__ import annotations

import pytest

from engine.machine.device_preview import missing_device, numbered, place
from engine.machine.gpu import Gpus
from tests.engine.test_gpu import StandIn


def four() -> Gpus:
    return Gpus(StandIn(devices=4))


@pytest.mark.parametrize(
    ("wanted", "visible", "index"),
    [
        ("auto", None, 0), ("auto", "2", 2), ("auto", "3,1", 3), ("auto", "GPU-22-aa", 2), ("auto", "GPU-1,GPU-2", 1),
        ("1", None, 1), ("3", "2,3", 3), ("auto", "1,-1", 1),
    ],
)
def test_a_training_s_memory_is_held_against_the_gpu_that_it_would_train_on(
    wanted: str, visible: str | None, index: int
) -> None:
    """`CUDA_VISIBLE_DEVICES=2 steptop run …`, because somebody else fills the first one."""
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = place(wanted, four(), environ)
    assert found.cuda and found.gpu is not None and found.gpu.index == index


@pytest.mark.parametrize("visible", ["", "-1", "9", "NoDevFiles"])
def test_where_none_is_shown_there_is_none(visible: str) -> None:
    assert place("auto", four(), {"CUDA_VISIBLE_DEVICES": visible}) == (False, None)
    assert place("auto", Gpus(StandIn(devices=0)), {}) == (False, None)


def test_a_slice_of_a_gpu_is_one_whose_memory_is_not_known() -> None:
    """The whole GPU's would promise seven times what the slice has."""
    assert place("auto", four(), {"CUDA_VISIBLE_DEVICES": "MIG-5c8e-11"}) == (True, None)


@pytest.mark.parametrize(
    ("visible", "advice"),
    [
        ("2,3", "shows 2, 3, and numbers are nvidia-smi's: --devices 2,3, or auto"),
        ("GPU-33-aa", "shows GPU-33-aa, and numbers are nvidia-smi's: --devices 3, or auto"),
        ("MIG-5c8e-11", "shows MIG-5c8e-11, and numbers are nvidia-smi's: --devices auto"),
        ("", "shows none, and numbers are nvidia-smi's: unset it, or --devices cpu"),
    ],
)
def test_a_gpu_that_others_were_given_is_not_taken(visible: str, advice: str) -> None:
    """A scheduler sets CUDA_VISIBLE_DEVICES; a trainer is shown its number instead, and would go past it."""
    said = missing_device("0", four(), {"CUDA_VISIBLE_DEVICES": visible})
    assert said == f"CUDA device 0: CUDA_VISIBLE_DEVICES {advice}"


@pytest.mark.parametrize("visible", [None, "0", "3,0", "GPU-00"])
def test_one_that_is_shown_can_be_had(visible: str | None) -> None:
    assert missing_device("0", four(), {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == ""


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [(None, None), ("", ""), ("3,1", "3,1"), ("GPU-22-aa,GPU-3", "2,3"), ("MIG-5c8e-11", "MIG-5c8e-11")],
)
def test_uuids_are_numbers_by_another_name(visible: str | None, numbers: str | None) -> None:
    assert numbered(visible, four()) == numbers


def test_one_number_too_many_is_refused() -> None:
    assert "there are 4 CUDA devices, 0 to 3" in missing_device("4", four(), {})
    assert "no NVIDIA driver" in missing_device("0", Gpus(StandIn(broken=("nvmlInit",))), {})
