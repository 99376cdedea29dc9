"""A whole volume through a network that sees one patch at a time: windows that overlap, weighed by a Gaussian.

As nnU-Net does it (Isensee et al. 2021): half of a window is shared with the next one, and what a network says near a
window's edge, where it sees least, counts least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config.windows import OVERLAP, starts

# Of a side: the Gaussian's standard deviation. A corner weighs 4e-11 then, which float32 bears.
SIGMA = 1 / 8


def gaussian(window: Sequence[int]) -> Tensor:
    """(d, h, w) float32, 1 in the middle, more than 0 everywhere."""
    weight = torch.ones(())
    for side in window:
        place = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (place / (SIGMA * side)) ** 2)
    return weight


def logits(
    model: nn.Module, image: Tensor, window: Sequence[int], batch_size: int, device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format, check_stop: Callable[[], None] = lambda: None,
    overlap: float = OVERLAP,
) -> Tensor:
    """The weighted mean of the windows' logits: image (1, D, H, W) on the host -> (classes, D, H, W) float32 there.

    The device holds `batch_size` windows at a time however large the volume is, the host one volume of logits. A
    volume smaller than a window is filled up with its least value. `check_stop` is called before each batch.
    """
    lacks = [max(0, part - side) for side, part in zip(image.shape[1:], window, strict=True)]
    whole = functional.pad(image, [n for lack in reversed(lacks) for n in (0, lack)], value=float(image.min()))
    weight = gaussian(window)
    total, weights = None, torch.zeros(whole.shape[1:])
    with torch.no_grad():
        for places in _several(whole.shape[1:], window, batch_size, overlap):
            check_stop()
            parts = torch.stack([whole[(slice(None), *place)] for place in places])
            found = model(parts.to(device, memory_format=memory_format)).float().cpu()  # host-device sync
            if total is None:
                total = torch.zeros((found.shape[1], *whole.shape[1:]))
            for place, one in zip(places, found, strict=True):
                total[(slice(None), *place)] += one * weight
                weights[place] += weight
    assert total is not None
    kept = tuple(slice(0, side) for side in image.shape[1:])
    return (total / weights)[(slice(None), *kept)]


def _several(
    shape: Sequence[int], window: Sequence[int], batch_size: int, overlap: float
) -> Iterator[list[tuple[slice, ...]]]:
    """The windows' places, so many at a time."""
    every = [starts(side, part, overlap) for side, part in zip(shape, window, strict=True)]
    places: list[tuple[slice, ...]] = []
    for corner in product(*every):
        places.append(tuple(slice(low, low + part) for low, part in zip(corner, window, strict=True)))
        if len(places) == batch_size:
            yield places
            places = []
    if places:
        yield places
