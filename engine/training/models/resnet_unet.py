"""A 3D ResNet-18 as the encoder of a U-Net, as ablations of deep supervision and of multi-kernel skips use it.

The encoder (He et al. 2016, in three dimensions): a 7³ convolution of stride 2, max-pooling, four stages of two basic
blocks, convolutions without bias. With 64 channels, one input and two classes: 41,871,810 parameters; deep supervision
adds 902, multi-kernel depthwise convolutions on the skips 81,408.
"""

from __future__ import annotations

from functools import reduce
from math import gcd
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config.tables import Model
from engine.training.registry import MODELS

# Of `channels`: the encoder's stages, and the decoder's levels from the coarsest.
STAGES = (1, 2, 4, 8)
LEVELS = (4, 2, 1, 1)
BLOCKS = 2
KERNELS = (1, 3, 5)
SHUFFLED = 4


class Norm(nn.BatchNorm3d):
    """Batch normalisation that bears a batch of one voxel: it has no variance of its own, so it is normalised by the
    running mean and variance. A patch of 32³ has one voxel at the coarsest level, and an epoch may end with one."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class Basic(nn.Module):
    """relu(conv3-BN-relu-conv3-BN(x) + x); a 1³ convolution fits x where the size or the channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False), Norm(outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False), Norm(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.fit = nn.Identity() if same else nn.Sequential(
            nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), Norm(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.fit(x))


class MultiKernel(nn.Module):
    """Multi-kernel depthwise convolution: each kernel's own BN and ReLU6, summed, channels shuffled; one shape.

    As in EMCAD (Rahman et al. 2024), in three dimensions and without the pointwise convolutions around it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = gcd(channels, SHUFFLED)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
                Norm(channels), nn.ReLU6(inplace=True),
            )
            for kernel in KERNELS
        )

    def forward(self, x: Tensor) -> Tensor:
        # Added one by one: CUDA's autocast has `sum` give single precision, and with it all that follows.
        found = reduce(torch.add, [branch(x) for branch in self.branches])
        return functional.channel_shuffle(found, self.groups)


class Up(nn.Module):
    """One level up: (B, inputs, d, h, w) and the skip (B, skip, D, H, W) -> (B, outputs, D, H, W)."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(inputs, outputs, 2, stride=2)
        self.body = nn.Sequential(
            nn.Conv3d(outputs + skip, outputs, 3, padding=1), Norm(outputs), nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1), Norm(outputs), nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        grown = self.up(x)
        if grown.shape[2:] != skip.shape[2:]:
            # Sides that halving has rounded up: 9 voxels are 5 a level down, and come back as 10.
            grown = functional.interpolate(grown, skip.shape[2:], mode="trilinear", align_corners=False)
        return cast(Tensor, self.body(torch.cat([grown, skip], dim=1)))


class ResNetUNet(nn.Module):
    """(B, 1, D, H, W) float32 -> logits (B, classes, D, H, W).

    While it trains with `aux` a tuple: the logits, then those of the decoder's levels from the coarsest (1/16 of the
    size) to 1/4, each at its own size: the weights 1, 0.5, 0.25, 0.125 of the ablation are in that order.
    """

    def __init__(self, channels: int, classes: int, aux: bool = False, mkdc: bool = False, inputs: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(inputs, channels, 7, stride=2, padding=3, bias=False), Norm(channels),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool3d(3, stride=2, padding=1)
        stages = [channels * times for times in STAGES]
        levels = [channels * times for times in LEVELS]
        self.stages = nn.ModuleList(
            nn.Sequential(Basic(before, width, 2 if place else 1), *(Basic(width, width, 1) for _ in range(BLOCKS - 1)))
            for place, (before, width) in enumerate(zip([channels, *stages], stages, strict=False))
        )
        skips = [*reversed(stages[:-1]), channels]
        self.skips = nn.ModuleList(MultiKernel(width) if mkdc else nn.Identity() for width in skips)
        self.up = nn.ModuleList(
            Up(below, skip, width)
            for below, skip, width in zip([stages[-1], *levels], skips, levels, strict=False)
        )
        self.head = nn.Conv3d(levels[-1], classes, 1)
        self.aux = nn.ModuleList(nn.Conv3d(width, classes, 1) for width in levels[:-1]) if aux else None
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.stem(image)
        found = [x]
        x = self.pool(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        found.pop()
        decoded = []
        for level, skip in zip(self.up, self.skips, strict=True):
            x = level(x, skip(found.pop()))
            decoded.append(x)
        # The head at half the size: a 1³ convolution and trilinear interpolation may change places, and this is an
        # eighth of the work.
        logits = functional.interpolate(self.head(x), image.shape[2:], mode="trilinear", align_corners=False)
        if self.aux is None or not self.training:
            return logits
        return (logits, *(head(features) for head, features in zip(self.aux, decoded, strict=False)))


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@MODELS.register("resnet_unet")
def resnet_unet(config: Model) -> ResNetUNet:
    return ResNetUNet(config.channels, config.classes, config.aux, config.mkdc)
