"""The device a training would get, as far as it can be told without torch."""

from __future__ import annotations

import importlib.util
import platform
import re
from pathlib import Path

from engine.config.experiment import Plan
from engine.journals.events import Gpu
from engine.machine.gpu import Gpus


def missing_device(wanted: str) -> str:
    """Why the CUDA device asked for by number cannot be had; '' if it can, or if none was asked for."""
    if not wanted.isdigit():
        return ""
    if not _built_for_cuda():
        return f"CUDA device {wanted}: this torch is built without CUDA; install a CUDA build, or use --devices cpu"
    gpus = Gpus()
    count = len(gpus.names())
    if int(wanted) < count:
        return ""
    there = f"there are {count} CUDA devices, 0 to {count - 1}" if count else gpus.reason
    return f"CUDA device {wanted}: there is no such device ({there}); auto and cpu work everywhere"


def missing_devices(plan: Plan) -> str:
    """The same of all devices that a plan names, the first that is missing."""
    return next((why for name in plan.devices or (plan.device,) if (why := missing_device(name))), "")


def _gpus(wanted: str) -> tuple[Gpu, ...]:
    """The devices NVML sees, the wanted one first; none where torch could not use them."""
    if wanted in ("cpu", "mps") or not _built_for_cuda():
        return ()
    found = Gpus().read(set())
    index = int(wanted) if wanted.isdigit() else 0
    return found[index:]


def quick_device(wanted: str) -> dict[str, str]:
    """The device as far as it can be told without torch: its build says whether it can use CUDA, NVML what is there."""
    gpus = _gpus(wanted)
    if gpus:
        return {"kind": "cuda", "name": gpus[0].name}
    return {"kind": wanted if wanted in ("cpu", "mps") else "cpu", "name": processor()}


def device_memory(wanted: str) -> tuple[int | None, int]:
    """How much memory it has, and how much of it is in use; None where NVML does not say."""
    gpus = _gpus(wanted)
    return (gpus[0].memory_total, gpus[0].memory_used or 0) if gpus else (None, 0)


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
