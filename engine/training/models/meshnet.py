"""MeshNet: a stack of dilated 3D convolutions at full resolution, without skips, down- or upsampling.

arXiv 2503.05531 (10 layers, dilations 1-2-4-8-16-16-8-4-2-1). MeshNet-5, -16 and -26 have 5,682, 56,194 and 147,474
parameters for one input channel and two classes. One output voxel sees a cube of 123 input voxels a side.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

from engine.config.tables import Model
from engine.training.registry import MODELS

DILATIONS = (1, 2, 4, 8, 16, 16, 8, 4, 2)


class MeshNet(nn.Module):
    """(B, inputs, D, H, W) float32 -> logits (B, classes, D, H, W)."""

    def __init__(self, channels: int, classes: int = 2, dropout: float = 0.0, inputs: int = 1) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        for i, dilation in enumerate(DILATIONS, start=1):
            self.blocks.add_module(f"block{i}", _block(inputs if i == 1 else channels, channels, dilation, dropout))
        self.head = nn.Conv3d(channels, classes, kernel_size=1)
        gain = nn.init.calculate_gain("relu")
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.xavier_normal_(module.weight, gain)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.blocks(image)))


def _block(inputs: int, outputs: int, dilation: int, dropout: float) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](
        conv=nn.Conv3d(inputs, outputs, kernel_size=3, padding=dilation, dilation=dilation),
        norm=nn.BatchNorm3d(outputs),
        relu=nn.ReLU(inplace=True),
    )
    if dropout:
        layers["dropout"] = nn.Dropout3d(dropout)
    return nn.Sequential(layers)


@MODELS.register("meshnet")
def meshnet(config: Model) -> MeshNet:
    return MeshNet(config.channels, config.classes, config.dropout)
