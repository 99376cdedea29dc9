"""What NVML says about the GPUs, or why it says nothing. A missing reading is None, never an exception."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any

from engine.journals.events import Gpu

# Of nvml.h, nvmlClocksEventReason…: those that are no choice of the user's.
HELD_BACK = (
    (0x04, "power cap"), (0x08, "hardware slowdown"), (0x20, "too hot"), (0x40, "too hot"), (0x80, "power brake"),
)


class Gpus:
    """Holds NVML open. `nvml` is the module (`pynvml`, of the distribution nvidia-ml-py); a stand-in may be passed."""

    def __init__(self, nvml: Any = None) -> None:
        self.reason = ""
        self._nvml: Any = None
        self._handles: list[tuple[int, Any]] = []
        self._seen: dict[int, int] = {}
        try:
            self._nvml = nvml if nvml is not None else importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._handles = [
                (i, self._nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(self._nvml.nvmlDeviceGetCount())
            ]
        except Exception as error:  # NVML's own error classes exist only once its library is loaded
            self.reason = _reason(error)
            self._nvml = None
        if self._nvml is not None and not self._handles:
            self.reason = "NVML sees no device"

    def read(self, own: set[int]) -> tuple[Gpu, ...]:
        """Every device now; `own` are the pids whose memory counts as this experiment's."""
        return tuple(self._one(index, handle, own) for index, handle in self._handles)

    def place(self, name: str) -> int | None:
        """Of the device that CUDA_VISIBLE_DEVICES calls so, by its number or by its UUID or how that begins; None if it
        is not there, or is a slice of one (MIG)."""
        if name.isdigit():
            return int(name) if int(name) < len(self._handles) else None
        found = [index for index, handle in self._handles if name and self._uuid(handle).startswith(name)]
        return found[0] if len(found) == 1 else None

    def _uuid(self, handle: Any) -> str:
        try:
            uuid = self._nvml.nvmlDeviceGetUUID(handle)
        except Exception:  # as everywhere here: a missing reading is none
            return ""
        return uuid.decode() if isinstance(uuid, bytes) else str(uuid)

    def names(self) -> list[str]:
        return [gpu.name for gpu in self.read(set())]

    def _one(self, index: int, handle: Any, own: set[int]) -> Gpu:
        nvml = self._nvml

        def ask(read: Callable[[], Any]) -> Any:
            try:
                return read()
            except Exception as error:
                failed.append(error)
                return None

        failed: list[Exception] = []
        name = ask(lambda: nvml.nvmlDeviceGetName(handle))
        util = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        watts = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        limit = ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        temperature = ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        clock = ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        processes = ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        mine = [p.usedGpuMemory for p in processes or () if p.pid in own and p.usedGpuMemory is not None]
        shares = ask(lambda: nvml.nvmlDeviceGetProcessUtilization(handle, self._seen.get(index, 0)))
        if shares:
            self._seen[index] = max(share.timeStamp for share in shares)
        lost = memory is None and util is None and bool(failed)
        return Gpu(
            index=index,
            name=name.decode() if isinstance(name, bytes) else str(name or ""),
            util=None if util is None else float(util),
            others_util=_others(shares, own) if shares and any(p.pid in own for p in processes or ()) else None,
            memory_used=None if memory is None else int(memory.used),
            memory_total=None if memory is None else int(memory.total),
            own_memory=sum(mine) if mine else None,
            temperature=None if temperature is None else float(temperature),
            power=None if watts is None else watts / 1000,
            power_limit=None if limit is None else limit / 1000,
            clock=None if clock is None else float(clock),
            held_back=_held_back(nvml, handle),
            error=_reason(failed[0]) if lost else "",
        )

    def close(self) -> None:
        if self._nvml is not None:
            with contextlib.suppress(Exception):
                self._nvml.nvmlShutdown()


def _others(shares: Iterable[Any], own: set[int]) -> float:
    """Percent of the time that kernels of other processes ran, the mean of NVML's samples since the last look."""
    by_time: dict[int, float] = {}
    for share in shares:
        by_time[share.timeStamp] = by_time.get(share.timeStamp, 0.0) + (share.smUtil if share.pid not in own else 0.0)
    return min(100.0, sum(by_time.values()) / len(by_time)) if by_time else 0.0


def _held_back(nvml: Any, handle: Any) -> tuple[str, ...]:
    """Why the clock is lower than it could be; nothing where the driver does not say (its call has had two names)."""
    for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
        try:
            bits = int(getattr(nvml, name)(handle))
        except Exception:  # noqa: S112  as everywhere here: a missing reading is none
            continue
        return tuple(dict.fromkeys(word for bit, word in HELD_BACK if bits & bit))
    return ()


def _reason(error: Exception) -> str:
    """NVML's message in a user's words."""
    text = str(error)
    if "Shared Library Not Found" in text or "LibraryNotFound" in type(error).__name__:
        return "no NVIDIA driver on this machine"
    if isinstance(error, ImportError):
        return "nvidia-ml-py is not installed"
    return f"NVML: {text or type(error).__name__}"


def shown(environ: Mapping[str, str] | None = None) -> list[str] | None:
    """What CUDA_VISIBLE_DEVICES names, in its order: numbers or UUIDs; None where it is not set and every device is
    seen. CUDA stops at the first name that is none: "0,-1,1" shows one device."""
    names = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return None
    found = (word.strip() for word in names.split(","))
    return list(takewhile(lambda word: word and not word.startswith("-"), found))
