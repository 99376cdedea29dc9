"""How much goes through the network for one sample of training, of validation, and for one whole held-out case."""

from __future__ import annotations

from math import prod

from engine.config import windows
from engine.config.experiment import Plan

# A patch of validation has half a volume's sides where training is on whole volumes.
HALVED = 8


def voxels(plan: Plan, span: str) -> float:
    """Of one item of `span` (step, validate, evaluate, reconstruct), those that several windows share counted in each.
    Only ratios of it mean something."""
    experiment = plan.experiment
    patch, volume = experiment.patch, prod(experiment.prepare.shape)
    if patch.whole:
        return volume / HALVED if span == "validate" and plan.profile["val_patches_per_volume"] else float(volume)
    one = float(prod(patch.shape))
    if span == "step" or (span == "validate" and plan.profile["val_patches_per_volume"]):
        return one
    return one * windows.count(experiment.prepare.shape, patch.shape)
