"""NVML's readings through a stand-in library: missing ones are dashes with a reason, never an exception."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from engine.machine.gpu import Gpus


class NvmlError(Exception):
    pass


class StandIn:
    """Two devices as NVML would tell them; `broken` names calls that fail, `lost` devices that fell off the bus."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    def __init__(self, broken: tuple[str, ...] = (), lost: tuple[int, ...] = (), devices: int = 2) -> None:
        self.broken, self.lost, self.devices = broken, lost, devices

    def nvmlInit(self) -> None:
        if "nvmlInit" in self.broken:
            raise NvmlError("NVML Shared Library Not Found")

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return self.devices

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> bytes:
        return b"GPU-%d%d-aa" % (handle, handle)

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = {
            "nvmlDeviceGetName": b"A100-SXM4-80GB",
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=17),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=67 << 30, total=80 << 30),
            "nvmlDeviceGetPowerUsage": 92_000,
            "nvmlDeviceGetEnforcedPowerLimit": 400_000,
            "nvmlDeviceGetTemperature": 39,
            "nvmlDeviceGetClockInfo": 1410,
            "nvmlDeviceGetComputeRunningProcesses": [
                SimpleNamespace(pid=10, usedGpuMemory=60 << 30),
                SimpleNamespace(pid=11, usedGpuMemory=None),
                SimpleNamespace(pid=99, usedGpuMemory=7 << 30),
            ],
            "nvmlDeviceGetProcessUtilization": [
                SimpleNamespace(pid=10, timeStamp=1, smUtil=60),
                SimpleNamespace(pid=99, timeStamp=1, smUtil=30),
                SimpleNamespace(pid=10, timeStamp=2, smUtil=90),
                SimpleNamespace(pid=99, timeStamp=2, smUtil=10),
            ],
        }

        def call(handle: int, *_: object) -> Any:
            if name in self.broken:
                raise NvmlError("Not Supported")
            if handle in self.lost:
                raise NvmlError("GPU is lost")
            return values[name]

        return call


def test_every_reading_of_a_device_in_its_unit() -> None:
    gpu = Gpus(StandIn()).read({10, 11})[0]
    assert (gpu.name, gpu.util, gpu.temperature, gpu.power, gpu.power_limit, gpu.clock) == (
        "A100-SXM4-80GB",
        17.0,
        39.0,
        92.0,
        400.0,
        1410.0,
    )
    assert (gpu.memory_used, gpu.memory_total, gpu.own_memory) == (67 << 30, 80 << 30, 60 << 30)


def test_what_other_processes_compute_is_told_apart_where_the_own_one_is_known() -> None:
    gpus = Gpus(StandIn())
    assert gpus.read({10, 11})[0].others_util == 20.0
    assert gpus.read({99})[0].others_util == 75.0
    assert gpus.read({4242})[0].others_util is None  # in a container NVML names processes by other numbers
    assert Gpus(StandIn(broken=("nvmlDeviceGetProcessUtilization",))).read({10})[0].others_util is None


def test_what_a_device_does_not_tell_is_none() -> None:
    gpu = Gpus(StandIn(broken=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates"))).read(set())[0]
    assert gpu.power is None
    assert gpu.util is None
    assert gpu.memory_total == 80 << 30
    assert gpu.error == ""


def test_a_device_that_fell_off_the_bus_leaves_the_others_readable() -> None:
    first, second = Gpus(StandIn(lost=(0,))).read(set())
    assert "GPU is lost" in first.error
    assert second.util == 17.0


def test_no_driver_gives_a_reason_and_no_devices() -> None:
    gpus = Gpus(StandIn(broken=("nvmlInit",)))
    assert gpus.read(set()) == ()
    assert gpus.reason == "no NVIDIA driver on this machine"


def test_a_driver_without_devices_says_so() -> None:
    assert Gpus(StandIn(devices=0)).reason == "NVML sees no device"
