"""The optimizer and its learning rate, step by step."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler, OneCycleLR

from engine.config.tables import Optimizer as OptimizerTable, Schedule

# What a group of weights says of how it is computed, which follows from the device and not from the training.
HOW = ("foreach", "fused", "capturable")


def optimizer(config: OptimizerTable, model: nn.Module, device: torch.device) -> Optimizer:
    """AdamW. Fused on CUDA: there the gradient scaler passes the overflow flag on unread."""
    return AdamW(
        model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, eps=config.eps,
        fused=True if device.type == "cuda" else None,
    )


def restore(made: Optimizer, state: dict[str, Any]) -> None:
    """Go on from `state`, which may come from another kind of device (a CPU's is not fused, and a gradient scaler would
    stop at that) or from weights in another memory layout: fused kernels ask that weights and moments lie alike."""
    groups = [
        saved | {name: own[name] for name in HOW if name in own}
        for saved, own in zip(state["param_groups"], made.param_groups, strict=True)
    ]
    made.load_state_dict(state | {"param_groups": groups})
    for weight, moments in made.state.items():
        for name, value in moments.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                moments[name] = torch.empty_like(weight, requires_grad=False).copy_(value)


def schedule(config: Schedule, lr: float, optimizer: Optimizer, total_steps: int, epochs: int = 1) -> LRScheduler:
    """One step of it per optimizer step; `lr` is the highest."""
    if config.name == "constant":
        for group in optimizer.param_groups:
            group["lr"] = lr
        return ConstantLR(optimizer, factor=1.0, total_iters=0)
    if config.name == "cosine":
        for group in optimizer.param_groups:
            group["lr"] = lr
        warmup = config.warmup_steps or round(config.warmup_epochs * total_steps / epochs)
        return LambdaLR(optimizer, partial(_cosine, min(warmup, total_steps - 1), total_steps, config.min_lr / lr))
    return OneCycleLR(
        optimizer, max_lr=lr, total_steps=total_steps, pct_start=_pct_start(config.pct_start, total_steps),
        div_factor=config.div_factor,
    )


def _cosine(warmup: int, total_steps: int, least: float, step: int) -> float:
    """Of the highest learning rate, at a step counted from 0: a straight climb that reaches 1 after `warmup` steps,
    then half a cosine that reaches `least` at the last step (Loshchilov and Hutter 2017, one cycle)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, total_steps - 1 - warmup))
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done))


def _pct_start(wanted: float, total_steps: int) -> float:
    """OneCycleLR divides by the warm-up's length minus one step, which is 0 for a warm-up of exactly one step."""
    if float(wanted * total_steps) == 1.0:
        return math.nextafter(wanted, 0.0) if total_steps == 1 else wanted * (1 + 1e-9)
    return wanted
