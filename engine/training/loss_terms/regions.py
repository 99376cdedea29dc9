"""Terms that compare voxel by voxel and by overlap."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config.tables import Loss, Term
from engine.training.loss_terms.foreground import mean, options, per_sample, seen
from engine.training.registry import LOSS_TERMS


class WeightedBCE(nn.Module):
    """Binary cross-entropy, foreground weighted by `pos_weight`; the mean over all voxels that count."""

    def __init__(self, pos_weight: float, ignore: int) -> None:
        super().__init__()
        self.pos_weight = pos_weight
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        one = seen(logits, target, self.ignore)
        weight = torch.full_like(one.logits[:1, :1, :1, :1], self.pos_weight)
        each = functional.binary_cross_entropy_with_logits(one.logits, one.truth, pos_weight=weight, reduction="none")
        return mean(each, one.counted)


class SoftDice(nn.Module):
    """1 - (2 Σpg + s) / (Σp + Σg + s) of each sample, averaged (Milletari et al. 2016, without squares)."""

    def __init__(self, smooth: float, ignore: int) -> None:
        super().__init__()
        self.smooth = smooth
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        one = seen(logits, target, self.ignore)
        p, g = one.probability, one.truth
        both = 2 * per_sample(p * g) + self.smooth
        return (1 - both / (per_sample(p) + per_sample(g) + self.smooth)).mean()


@LOSS_TERMS.register("weighted_bce")
def weighted_bce(loss: Loss, term: Term) -> WeightedBCE:
    found = options("weighted_bce", term, {"pos_weight": 1.0})
    return WeightedBCE(found["pos_weight"], loss.ignore)


@LOSS_TERMS.register("soft_dice")
def soft_dice(loss: Loss, term: Term) -> SoftDice:
    found = options("soft_dice", term, {"smooth": 1.0})
    return SoftDice(found["smooth"], loss.ignore)
