"""Networks by name: each module here registers its own. `build` makes the one an experiment names."""

from __future__ import annotations

from torch import nn

from engine.config import networks
from engine.config.tables import Model
from engine.training.models import denoiser, meshnet, residual_unet, resnet_unet
from engine.training.registry import MODELS

__all__ = ["build", "denoiser", "meshnet", "parameters", "residual_unet", "resnet_unet"]


def build(config: Model) -> nn.Module:
    """The network with freshly drawn weights (torch's global generator). Raises UsageError for an unknown name, or for
    fields that it has no use for."""
    networks.check_fields(config, "[model]")
    return MODELS[config.name](config)


def recompute(network: nn.Module, on: bool) -> None:
    """The knob activation_checkpointing, for the parts of a network that know it."""
    for module in network.modules():
        if hasattr(module, "checkpointing"):
            setattr(module, "checkpointing", on)  # noqa: B010 - nn.Module's attributes are not typed


def parameters(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
