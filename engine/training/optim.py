"""The optimizer and its learning rate, step by step."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from engine.config.experiment import Optimizer as OptimizerTable, Schedule


def optimizer(config: OptimizerTable, model: nn.Module, device: torch.device) -> Optimizer:
    """AdamW. Fused on CUDA: there the gradient scaler passes the overflow flag on unread."""
    return AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, eps=config.eps,
        fused=True if device.type == "cuda" else None,
    )


def schedule(config: Schedule, lr: float, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """One step of it per optimizer step; `lr` is the highest."""
    if config.name == "constant":
        return ConstantLR(optimizer, factor=1.0, total_iters=0)
    return OneCycleLR(
        optimizer, max_lr=lr, total_steps=total_steps, pct_start=_pct_start(config.pct_start, total_steps),
        div_factor=config.div_factor,
    )


def _pct_start(wanted: float, total_steps: int) -> float:
    """OneCycleLR divides by the warm-up's length minus one step, which is 0 for a warm-up of exactly one step."""
    if float(wanted * total_steps) == 1.0:
        return math.nextafter(wanted, 0.0) if total_steps == 1 else wanted * (1 + 1e-9)
    return wanted
