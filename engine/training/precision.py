"""What the layers compute in: asked for by a knob, and then seen from what comes out of a hidden layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Halved four times it is still two voxels wide: a norm over one voxel is none.
SIDE = 32
# Compute capabilities: the first with tensor cores for fp16, and the first with bf16 and TF32.
VOLTA, AMPERE = (7, 0), (8, 0)
AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def autocast_dtype(knob: str, device: torch.device) -> torch.dtype | None:
    """The knob `precision` on this device; None is fp32 throughout. `auto` is fp16 on CUDA and fp32 elsewhere."""
    if knob == "auto":
        return torch.float16 if device.type == "cuda" else None
    return AUTOCAST.get(knob)


def remark(knob: str, capability: tuple[int, int]) -> str:
    """What is to be said of this precision on a GPU of this compute capability; '' where it has units for it."""
    made = ".".join(map(str, capability))
    if knob == "bf16" and capability < AMPERE:
        return f"precision = bf16 is emulated on a GPU of compute capability {made}, slowly; it has units for fp16"
    if knob in ("auto", "fp16") and capability < VOLTA:
        return f"precision = {knob} saves memory and no time on a GPU of compute capability {made}: no tensor cores"
    return ""


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def scaler(device: torch.device, dtype: torch.dtype | None) -> torch.amp.GradScaler:
    """Scales the loss for fp16, whose gradients would vanish otherwise; does nothing for fp32 and bf16."""
    return torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)


def observe(model: nn.Module, report: Callable[[str, str], None]) -> None:
    """Call `report(dtype, where)` once, at the model's next forward pass, with what its middle convolution gave out, or
    its middle linear layer where there is no convolution."""
    layers = of_kind(model, nn.Conv3d) or of_kind(model, nn.Linear)
    if not layers:
        return
    name, hidden = layers[len(layers) // 2]

    def look(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        handle.remove()
        report(str(output.dtype).removeprefix("torch."), f"output of {name}")

    handle = hidden.register_forward_hook(look)


def of_kind(model: nn.Module, kind: type[nn.Module]) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]


def observe_apart(
    model: nn.Module, image: Tensor, dtype: torch.dtype | None, report: Callable[[str, str], None]
) -> None:
    """The same by a forward pass of its own, for a model that is compiled afterwards: a hook would be compiled with it.

    `image` (B, 1, D, H, W) is cropped to SIDE; nothing of the model changes.
    """
    observe(model, lambda active, where: report(active, f"{where}, before compiling"))
    training = model.training
    model.eval()
    with torch.no_grad(), autocast(image.device, dtype):
        model(image[..., :SIDE, :SIDE, :SIDE])
    model.train(training)
