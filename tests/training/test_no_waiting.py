"""No loss asks the device how many voxels there are of something: that alone would have the host wait at every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from engine.config.tables import Loss, Model, Term
from engine.training import models
from engine.training.cross_entropy import CrossEntropy
from engine.training.losses import Criterion

SIDE = 12
# Operations whose output's shape depends on numbers: a GPU's host waits for them.
WAITS = {"aten::masked_select", "aten::nonzero", "aten::unique", "aten::_unique2", "aten::bincount", "aten::equal"}
TERMS = {name: Term(weight=1.0) for name in ("weighted_bce", "soft_dice", "cl_dice", "skeleton", "surface_distance")}
LOSSES = {
    "cross_entropy": Loss(), "cross_entropy, not all labelled": Loss(ignore=2), "generalised_dice": Loss(name="generalised_dice"),
    "terms": Loss(terms=TERMS, deep_supervision=(1.0, 0.5)),
}


def outputs(name: str, dtype: torch.dtype = torch.float32) -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    """Of a network, the label, and the maps of it that come prepared."""
    draw = torch.Generator().manual_seed(1)
    label = torch.randint(0, 3 if LOSSES[name].ignore == 2 else 2, (2, SIDE, SIDE, SIDE), generator=draw)
    made = [torch.randn(2, 2, side, side, side, generator=draw).to(dtype).requires_grad_() for side in (SIDE, SIDE // 2)]
    maps = {one: torch.rand(label.shape, generator=draw).half() for one in ("distance", "skeleton")}
    return tuple(made) if LOSSES[name].deep_supervision else made[0], label, maps


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_never_asks_how_many_voxels_there_are(name: str) -> None:
    criterion = Criterion(LOSSES[name])
    found, label, maps = outputs(name)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        criterion(found, label, 0, maps).total.backward()
    assert WAITS & {event.key for event in seen.key_averages()} == set()


class Halves(TorchDispatchMode):
    """Operations that gave something in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for one in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(one, torch.Tensor) and one.dtype in (torch.float16, torch.bfloat16):
                self.seen.add(str(function))
        return found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", list(LOSSES))
def test_under_autocast_every_loss_is_computed_in_single_precision(name: str, dtype: torch.dtype) -> None:
    """Sums over a volume are beyond 65504, the largest number of half precision."""
    criterion = Criterion(LOSSES[name])
    found, label, maps = outputs(name, dtype)
    with torch.autocast("cpu", dtype=dtype), Halves() as halves:
        total = criterion(found, label, 0, maps).total
    assert halves.seen == set()
    assert total.dtype == torch.float32 and bool(total.isfinite())


class Called(TorchFunctionMode):
    """Names of torch's functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(function.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "model",
    [
        Model(name="meshnet", channels=3), Model(name="residual_unet", channels=2, multipliers=(1, 2), blocks=1, aux=True),
        Model(name="resnet_unet", channels=4, aux=True, mkdc=True),
    ],
    ids=lambda one: one.name,
)
def test_a_network_calls_nothing_that_a_gpu_s_autocast_widens(model: Model) -> None:
    """Of torch's list for CUDA; interpolation is there too, and wanted."""
    widened = {"sum", "prod", "softmax", "log_softmax", "cumsum", "exp", "log", "pow", "norm", "vector_norm", "softplus"}
    network = models.build(model).train()
    with Called() as called, torch.autocast("cpu", dtype=torch.bfloat16):
        network(torch.rand(2, 1, 16, 16, 16))
    assert "conv3d" in called.names and called.names & widened == set()


@pytest.mark.parametrize("smoothing", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("ignore", [-1, 2])
def test_cross_entropy_is_torch_s_own_to_the_last_bits(smoothing: float, ignore: int) -> None:
    draw = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 2, 5, 6, 7, generator=draw, requires_grad=True)
    label = torch.randint(0, 3 if ignore == 2 else 2, (2, 5, 6, 7), generator=draw)
    theirs = torch.nn.CrossEntropyLoss(
        torch.tensor((0.5, 1.0)), label_smoothing=smoothing, ignore_index=ignore if ignore >= 0 else -100
    )
    values = [loss(logits, label) for loss in (CrossEntropy((0.5, 1.0), smoothing, ignore), theirs)]
    slopes = [torch.autograd.grad(value, logits)[0] for value in values]
    assert float(values[0].detach()) == pytest.approx(float(values[1].detach()), rel=1e-6)
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-5, atol=1e-9)
