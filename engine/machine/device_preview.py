"""The device a training would get, as far as it can be told without torch."""

from __future__ import annotations

import importlib.util
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from engine.config.plan import Plan
from engine.journals.events import Gpu
from engine.machine.gpu import Gpus, shown
from engine.text import clean


class Place(NamedTuple):
    """Where a training would be: on `gpu`, as NVML reads it, or on one that NVML does not tell apart (`cuda` and no
    `gpu`: a slice of one, MIG)."""

    cuda: bool
    gpu: Gpu | None = None


def missing_device(wanted: str, gpus: Gpus | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Why the CUDA device asked for by number cannot be had; '' if it can, or if none was asked for. `gpus`, `environ`:
    None for those of this process."""
    if not wanted.isdigit():
        return ""
    if gpus is None and not _built_for_cuda():
        return f"CUDA device {wanted}: this torch is built without CUDA; install a CUDA build, or use --devices cpu"
    gpus = gpus or Gpus()
    count = len(gpus.names())
    if int(wanted) >= count:
        what = f"there are {count} CUDA devices, 0 to {count - 1}" if count else gpus.reason
        return f"CUDA device {wanted}: there is no such device ({what}); auto and cpu work everywhere"
    names = shown(environ)
    if names is None:
        return ""
    there = [index for name in names if (index := gpus.place(name)) is not None]
    if int(wanted) in there:
        return ""
    instead = "--devices auto" if names else "unset it, or --devices cpu"
    if there:
        instead = f"--devices {','.join(map(str, there))}, or auto"
    return (
        f"CUDA device {wanted}: CUDA_VISIBLE_DEVICES shows {clean(', '.join(names))[:80] or 'none'}, and numbers are "
        f"nvidia-smi's: {instead}"
    )


def missing_devices(plan: Plan) -> str:
    """The same of all devices that a plan names, the first that is missing."""
    return next((why for name in plan.devices or (plan.device,) if (why := missing_device(name))), "")


def place(wanted: str, gpus: Gpus | None = None, environ: Mapping[str, str] | None = None) -> Place:
    """Of the device `wanted` (auto, cpu, mps, a number): auto is the first one that CUDA_VISIBLE_DEVICES shows. `gpus`,
    `environ`: None for those of this process."""
    if wanted in ("cpu", "mps") or (gpus is None and not _built_for_cuda()):
        return Place(cuda=False)
    gpus = gpus or Gpus()
    names, found = shown(environ), gpus.read(set())
    name = wanted if wanted.isdigit() else "0" if names is None else names[0] if names else ""
    index = gpus.place(name)
    if index is None:
        return Place(cuda=bool(found) and name.startswith("MIG"))
    return Place(cuda=True, gpu=found[index])


def numbered(visible: str | None, gpus: Gpus | None = None) -> str | None:
    """CUDA_VISIBLE_DEVICES with numbers in the place of UUIDs, as far as NVML knows them."""
    names = None if visible is None else shown({"CUDA_VISIBLE_DEVICES": visible})
    if names is None or all(name.isdigit() for name in names):
        return visible
    there = gpus or Gpus()
    return ",".join(name if (index := there.place(name)) is None else str(index) for name in names)


def quick_device(wanted: str) -> dict[str, str]:
    """The device as far as it can be told without torch: its build says whether it can use CUDA, NVML what is there."""
    here = place(wanted)
    if here.cuda:
        return {"kind": "cuda", "name": here.gpu.name if here.gpu is not None else ""}
    return {"kind": wanted if wanted in ("cpu", "mps") else "cpu", "name": processor()}


def device_memory(wanted: str) -> tuple[int | None, int]:
    """How much memory it has, and how much of it is in use; None where NVML does not say."""
    gpu = place(wanted).gpu
    return (gpu.memory_total, gpu.memory_used or 0) if gpu is not None else (None, 0)


def _built_for_cuda() -> bool:
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return False
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return False
    return re.search(r"^cuda\b[^=]*= *['\"]", text, re.MULTILINE) is not None


def processor() -> str:
    """Its model as the kernel says it, as a trainer on the CPU calls its device."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()
