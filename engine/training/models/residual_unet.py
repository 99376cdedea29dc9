"""Residual 3D U-Net of the Vesuvius surface detection: instance norm, Mish, and auxiliary heads on the way up.

With 40 channels, multipliers (1, 2, 2, 4, 4), 3 blocks a level, auxiliary heads and one class it has 33,671,604
parameters. A residual block is conv 3³ – norm – Mish – conv 3³ – norm – dropout, added to its input and put through
Mish (He et al. 2016 with the norm of Ulyanov et al. 2016 and the activation of Misra 2019).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from engine.config.tables import Model
from engine.errors import UsageError
from engine.training.registry import MODELS

MULTIPLIERS = (1, 2, 2, 4, 4)
BLOCKS = 3


class Residual(nn.Module):
    """(B, inputs, D, H, W) -> (B, outputs, D, H, W). Convolutions have no bias: the norm would undo it."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(OrderedDict[str, nn.Module](
            conv1=nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
            norm1=nn.InstanceNorm3d(outputs, affine=True),
            mish=nn.Mish(inplace=True),
            conv2=nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            norm2=nn.InstanceNorm3d(outputs, affine=True),
            dropout=nn.Dropout3d(dropout),
        ))
        self.skip = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.mish(self.body(x) + self.skip(x))


class Up(nn.Module):
    """One level up: (B, inputs, d, h, w) and the skip (B, skip, D, H, W) -> (B, outputs, D, H, W)."""

    def __init__(self, inputs: int, skip: int, outputs: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(inputs, outputs, 2, stride=2)
        self.blocks = _stage(outputs + skip, outputs, blocks, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        grown = self.up(x)
        if grown.shape[2:] != skip.shape[2:]:
            # Sides that pooling has rounded down: 72 is 36, 18, 9, 4 voxels, and comes back as 8.
            grown = functional.interpolate(grown, skip.shape[2:], mode="trilinear", align_corners=False)
        return cast(Tensor, self.blocks(torch.cat([grown, skip], dim=1)))


class ResidualUNet(nn.Module):
    """(B, 1, D, H, W) float32 -> logits (B, classes, D, H, W).

    While it trains with `aux` a tuple: the logits, then those of the auxiliary heads from fine to coarse, each at its
    own level's size. Level i has channels × multipliers[i] channels at 1 / 2^i of the size; the bottleneck has twice
    the last level's, at the last level's size.
    """

    def __init__(
        self, channels: int, classes: int, multipliers: Sequence[int] = MULTIPLIERS, blocks: int = BLOCKS,
        dropout: float = 0.0, aux: bool = False, inputs: int = 1,
    ) -> None:
        super().__init__()
        widths = [channels * times for times in multipliers]
        self.checkpointing = False  # set by the knob activation_checkpointing
        self.down = nn.ModuleList(
            _stage(before, width, blocks, dropout)
            for before, width in zip([inputs, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool3d(2)
        self.bottleneck = _stage(widths[-1], 2 * widths[-1], blocks, dropout)
        below = [2 * widths[-1], *reversed(widths[1:-1])]
        self.up = nn.ModuleList(
            Up(under, width, width, blocks, dropout)
            for under, width in zip(below, reversed(widths[:-1]), strict=True)
        )
        self.head = nn.Conv3d(widths[0], classes, 1)
        # All levels of the decoder but the finest, whose head is the main one.
        self.aux = nn.ModuleList(nn.Conv3d(width, classes, 1) for width in reversed(widths[1:-1])) if aux else None
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        skips = []
        x = image
        for stage in self.down[:-1]:
            x = stage(x)
            skips.append(x)
            x = self.pool(x)
        x = self._again(self.bottleneck, self.down[-1](x))
        coarse = []
        for level in self.up:
            x = self._again(level, x, skips.pop())
            coarse.append(x)
        logits = cast(Tensor, self.head(x))
        if self.aux is None or not self.training:
            return logits
        others = [head(features) for head, features in zip(self.aux, coarse, strict=False)]
        return (logits, *reversed(others))

    def _again(self, stage: nn.Module, *inputs: Tensor) -> Tensor:
        """Through `stage`; with checkpointing it keeps nothing, and runs once more in the backward pass."""
        if not (self.checkpointing and self.training):
            return cast(Tensor, stage(*inputs))
        run: Callable[..., Any] = checkpoint
        return cast(Tensor, run(stage, *inputs, use_reentrant=False))


def _stage(inputs: int, outputs: int, blocks: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(*(Residual(inputs if i == 0 else outputs, outputs, dropout) for i in range(blocks)))


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@MODELS.register("residual_unet")
def residual_unet(config: Model) -> ResidualUNet:
    """Raises UsageError for fewer than two levels, or a level without channels."""
    multipliers = config.multipliers or MULTIPLIERS
    if len(multipliers) < 2 or min(multipliers) < 1:
        raise UsageError(f"[model] multipliers = {list(multipliers)}: a U-Net needs two levels or more, each 1 or more")
    return ResidualUNet(
        config.channels, config.classes, multipliers, config.blocks or BLOCKS, config.dropout, config.aux
    )
