"""Losses by name. Each takes logits (B, C, D, H, W) and class numbers int64 (B, D, H, W), and gives one number."""

from __future__ import annotations

import torch
from torch import nn

from engine.config.experiment import Loss
from engine.training.registry import LOSSES


def build(config: Loss) -> nn.Module:
    """Raises UsageError for an unknown name."""
    return LOSSES[config.name](config)


@LOSSES.register("cross_entropy")
def cross_entropy(config: Loss) -> nn.Module:
    """Weighted by class and with smoothed labels; the mean is weighted likewise (torch.nn.CrossEntropyLoss)."""
    weights = torch.tensor(config.class_weights, dtype=torch.float32)
    return nn.CrossEntropyLoss(weights, label_smoothing=config.label_smoothing)
