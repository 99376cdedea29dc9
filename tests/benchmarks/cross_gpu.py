"""The rule that carries a step from one GPU to another, on published times. `python -m tests.benchmarks.cross_gpu`

Target: mean absolute error at most 7 %, the stated range holds at least 85 %. Epoch times of 3D U-Nets in fp16, 250
iterations, PyTorch 1.7.1, cuDNN 8.1: MIC-DKFZ/nnUNet, documentation/expected_epoch_times.md at 13b2fa9 (facts only).
All ordered pairs of GPUs with tensor cores. The exponents 0.75 and 0.25 were chosen on these very times; with exponents
fitted without the GPU that is foretold ("left out") the error says what the rule is worth on one that was not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from math import log
from pathlib import Path
from statistics import mean, quantiles
from typing import NamedTuple

from engine.whatif import hardware
from engine.whatif.hardware import Gpu
from engine.whatif.scaling import scaling

SHEET = Path(__file__).with_suffix(".toml")
NAMES = ("A100-40 SXM", "V100-32 SXM3", "V100-32 PCIe", "Quadro RTX 6000", "Titan RTX", "RTX 2080 Ti", "Titan Xp")
# Seconds an epoch; None: out of memory.
TIMES: dict[str, tuple[float | None, ...]] = {
    "Heart 3d_fullres": (51.17, 85.96, 99.29, 110.47, 112.34, 148.36, 504.93),
    "Heart dummy": (48.53, 79.0, 89.66, 105.16, 105.56, 138.4, 501.64),
    "Heart large": (118.5, 220.45, 251.25, 322.28, 300.96, None, None),
    "Liver 3d_fullres": (44.48, 75.53, 87.19, 85.18, 86.17, 106.76, 290.87),
    "Liver dummy": (41.1, 70.96, 80.1, 79.43, 79.43, 101.54, 289.03),
    "Liver large": (115.33, 213.27, 250.09, 261.54, 266.66, None, None),
    "Prostate 3d_fullres": (47.19, 76.33, 85.4, 100.0, 102.05, 132.82, 415.45),
    "Prostate dummy": (43.87, 70.58, 81.32, 97.48, 98.99, 124.73, 410.12),
    "Prostate large": (117.31, 209.12, 234.28, 277.14, 284.35, None, None),
}


class Told(NamedTuple):
    """Seconds."""

    here: str
    there: str
    foretold: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        return abs(self.foretold / self.measured - 1)

    @property
    def held(self) -> bool:
        return self.low <= self.measured <= self.high


def sheet() -> dict[str, Gpu]:
    found = hardware.gpus(SHEET)
    return {name: hardware.named(name, found) for name in NAMES}


def pairs(names: Iterable[str] = NAMES) -> Iterator[tuple[str, str, str, float, float]]:
    """Configuration, here, there, and the seconds of both."""
    for configuration, times in TIMES.items():
        known = {name: seconds for name, seconds in zip(NAMES, times, strict=True) if seconds is not None}
        for here, there in permutations([name for name in names if name in known], 2):
            yield configuration, here, there, known[here], known[there]


def told() -> list[Told]:
    """By the rule of the product; pairs that it makes no claim for are left out."""
    gpus, found = sheet(), []
    for _, here, there, seconds, measured in pairs():
        rule = scaling(gpus[here], gpus[there], "fp16")
        if rule.value is not None:
            low, high = seconds / rule.high, seconds / rule.low
            found.append(Told(here, there, seconds / rule.value, low, high, measured))
    return found


def left_out() -> list[Told]:
    """With exponents fitted to all pairs without the GPU that is foretold; no range."""
    gpus, found = sheet(), []
    cores = [name for name in NAMES if gpus[name].kind == "tensor cores"]
    for target in cores:
        a, b = fitted(gpus, [name for name in cores if name != target])
        for _, here, there, seconds, measured in pairs(cores):
            if there == target:
                value = seconds / ratio(gpus[here], gpus[there], a, b)
                found.append(Told(here, there, value, value, value, measured))
    return found


def ratio(here: Gpu, there: Gpu, bandwidth: float, tensor: float) -> float:
    one, other = here.tensor_tflops or here.fp32_tflops, there.tensor_tflops or there.fp32_tflops
    return (there.bandwidth_gb_s / here.bandwidth_gb_s) ** bandwidth * (other / one) ** tensor


def fitted(gpus: dict[str, Gpu], names: list[str]) -> tuple[float, float]:
    """Least squares in logarithms."""
    xx = xy = yy = xz = yz = 0.0
    for _, here, there, seconds, measured in pairs(names):
        x = log(gpus[there].bandwidth_gb_s / gpus[here].bandwidth_gb_s)
        y = log((gpus[there].tensor_tflops or 1) / (gpus[here].tensor_tflops or 1))
        z = log(seconds / measured)
        xx, xy, yy, xz, yz = xx + x * x, xy + x * y, yy + y * y, xz + x * z, yz + y * z
    whole = xx * yy - xy * xy
    return (xz * yy - yz * xy) / whole, (yz * xx - xz * xy) / whole


def line(name: str, found: list[Told], held: bool = True) -> str:
    errors = [one.error for one in found]
    inside = f"{mean(one.held for one in found):8.0%}" if held else f"{'–':>8}"
    return f"{name:<44} {len(found):4d} {mean(errors):7.1%} {quantiles(errors, n=10)[-1]:7.1%} {inside}"


def main() -> None:
    gpus = sheet()
    print(f"{'':<44} {'n':>4} {'MAPE':>7} {'p90':>7} {'in range':>8}")
    print(line("bandwidth^0.75 × tensor^0.25, ±20 %", told()))
    print(line("exponents fitted without the GPU foretold", left_out(), held=False))
    for words, a, b in (("memory bandwidth alone", 1.0, 0.0), ("tensor peak alone", 0.0, 1.0)):
        plain = [
            Told(here, there, value := seconds / ratio(gpus[here], gpus[there], a, b), value, value, measured)
            for _, here, there, seconds, measured in pairs(NAMES[:6])
        ]
        print(line(words, plain, held=False))
    old = [
        Told(here, there, value := seconds / ratio(gpus[here], gpus[there], 0.75, 0.25), value * 0.8, value * 1.2, measured)
        for _, here, there, seconds, measured in pairs()
        if "Titan Xp" in (here, there)
    ]
    print(line("to and from a GPU without tensor cores", old), " no claim is made: this is why")
    for name in NAMES[:6]:
        print(line(f"  to the {name}", [one for one in told() if one.there == name]))


if __name__ == "__main__":
    main()
