"""Which device trains, what it is called, and how full it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from engine.errors import UsageError
from engine.journals.events import Memory
from engine.machine.device_preview import numbered


def choose(wanted: str, visible: str | None = None) -> torch.device:
    """`auto` (CUDA, else MPS, else the CPU), `cpu`, `mps`, `cuda:N` or `N`. Raises UsageError if it is not there.

    N counts the machine's devices. Where `visible` (CUDA_VISIBLE_DEVICES) shows one device alone, it is that one: a
    supervisor that trains on several shows each of its trainers its own.
    """
    if wanted == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda", 0) if found == "cuda" else torch.device(found)
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError("device mps: this machine or this build of torch has none; choose --devices cpu")
        return torch.device("mps")
    name = wanted.removeprefix("cuda").removeprefix(":") or "0"
    if not name.isdigit():
        raise UsageError(f"device {wanted!r}: it is auto, cpu or the number of a CUDA device")
    if not torch.cuda.is_available():
        raise UsageError(
            f"device {wanted}: torch {torch.__version__} sees no CUDA device here "
            f"({'built for CUDA ' + torch.version.cuda if torch.version.cuda else 'built for the CPU'}); "
            "choose --devices cpu, or install the CUDA build of torch and look at nvidia-smi"
        )
    return torch.device("cuda", index_of(name, visible, torch.cuda.device_count()))


def index_of(number: str, visible: str | None, count: int) -> int:
    """Which of the `count` devices that this process sees is device `number` of the machine. Raises UsageError where it
    sees none of that number."""
    shown = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if len(shown) == 1:
        index = 0
    elif number in shown:
        index = shown.index(number)
    elif shown and all(name.isdigit() for name in shown):
        raise UsageError(
            f"device {number}: CUDA_VISIBLE_DEVICES shows {', '.join(shown)}, and numbers are nvidia-smi's: choose one "
            "of these, or auto"
        )
    else:
        index = int(number)
    if index >= count:
        raise UsageError(f"device {number}: there are {count} CUDA devices, numbered from 0")
    return index


def chosen(wanted: str) -> torch.device:
    """`choose` in this process's environment."""
    return choose(wanted, numbered(os.environ.get("CUDA_VISIBLE_DEVICES")))


def name(device: torch.device) -> str:
    """As the driver or the kernel says it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()


def unused(found: str, device: torch.device) -> str:
    """What is to be said where the driver names a GPU, `found`, and torch takes another device; '' where that is no
    wonder."""
    if not found or device.type == "cuda":
        return ""
    return (
        f"{found} is there, but torch {torch.__version__} (built for CUDA {torch.version.cuda}) cannot use it: it "
        f"would train on the {device.type.upper()}; most often the driver is too old (nvidia-smi says for which CUDA)"
    )


def capability(device: torch.device) -> tuple[int, int] | None:
    """A CUDA device's compute capability, (8, 0) of an A100; None for any other device."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


def memory(device: torch.device) -> Memory | None:
    """The caching allocator's view, bytes; it keeps these figures itself, so asking does not wait for the device."""
    if device.type != "cuda":
        return None
    stats = torch.cuda.memory_stats(device)
    return Memory(
        allocated=stats.get("allocated_bytes.all.current", 0), reserved=stats.get("reserved_bytes.all.current", 0),
        peak_allocated=stats.get("allocated_bytes.all.peak", 0), peak_reserved=stats.get("reserved_bytes.all.peak", 0),
    )


def forget_peak(device: torch.device) -> None:
    """The next peak is counted from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
