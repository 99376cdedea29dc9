"""The generalised Dice loss: overlap of every class, each weighted by how rare it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.config.tables import Loss
from engine.training.registry import LOSSES

TINY = 1e-6


class GeneralisedDice(nn.Module):
    """1 - 2 Σ w Σ p g / Σ w Σ (p + g), sums over the voxels of the whole batch, w = 1 / (Σ g)² for each class (Sudre et
    al. 2017).

    Over the batch, since a patch without any lesion has no weight for it. Weights are relative to the largest; a class
    that is in no patch of the batch gets that of the rarest that is, so that predicting it costs. In float32: at 96³ a
    sum of voxels is beyond what half precision counts.
    """

    def __init__(self, ignore: int = -1) -> None:
        super().__init__()
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """logits (B, C, D, H, W), target int64 (B, D, H, W) -> a number from 0 (all right) to 1."""
        classes = torch.arange(logits.shape[1], device=logits.device).view(1, -1, 1, 1, 1)
        with torch.autocast(logits.device.type, enabled=False):
            probability = logits.float().softmax(1)
            truth = (target[:, None] == classes).float()
            if self.ignore >= 0:
                counted = (target != self.ignore)[:, None]
                probability, truth = probability * counted, truth * counted
            p, g = (values.transpose(0, 1).flatten(1) for values in (probability, truth))
            voxels = g.sum(1)
            there = voxels > 0
            weight = voxels.clamp(min=1.0).pow(-2)
            weight = torch.where(there, weight, (weight * there).max())
            weight = weight / weight.max().clamp(min=torch.finfo(torch.float32).tiny)
            both, either = (weight * (p * g).sum(1)).sum(), (weight * (p.sum(1) + voxels)).sum()
        return 1 - 2 * both / either.clamp(min=TINY)


@LOSSES.register("generalised_dice")
def generalised_dice(config: Loss) -> GeneralisedDice:
    return GeneralisedDice(config.ignore)
