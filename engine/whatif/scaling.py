"""How many times as fast another GPU computes the same step, with its range and its ground; or why nothing is claimed.

Only what a GPU computes scales so. A convolution network in 3D is mostly held back by memory bandwidth: over nnU-Net's
published epoch times on six GPUs with tensor cores, bandwidth^0.75 × tensor^0.25 was 6.6 % off on average
(tests/benchmarks/cross_gpu.py), either peak figure alone 11 to 31 %.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.whatif.hardware import Gpu

BANDWIDTH, COMPUTE = 0.75, 0.25
# 90 % ranges. MEASURED generations are those of the published times; the rule was not seen on any other.
MEASURED = ("volta", "turing", "ampere")
WITHIN, ACROSS = 0.20, 0.35

Precision: TypeAlias = Literal["fp16", "bf16", "fp32"]

BENCH = "run `steptop bench` there"


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """`value` times as fast, 90 % range `low` to `high`; None: no claim, and `why` says what is missing."""

    value: float | None = None
    low: float = 0.0
    high: float = 0.0
    why: str = ""

    @property
    def known(self) -> bool:
        return self.value is not None


SAME = Scaling(value=1.0, low=1.0, high=1.0, why="measured here")


def scaling(here: Gpu | None, there: Gpu, precision: Precision, device: str = "cuda") -> Scaling:
    """From `here`, where steps were measured on a `device` (cuda, mps, cpu), to `there`."""
    if device == "cpu":
        return Scaling(why=f"no claim: nothing measured on a GPU; {BENCH}")
    if here is None:
        return Scaling(why=f"no claim: the GPU it ran on is not in the sheet (add it to ./hardware.toml); or {BENCH}")
    if here.name == there.name:
        return SAME
    if here.kind != there.kind:
        words = {"mps": "MPS", "tensor cores": "tensor cores", "no tensor cores": "a GPU without tensor cores"}
        return Scaling(why=f"no claim: nothing measured on {words[there.kind]}; {BENCH}")
    if precision == "bf16" and not (here.bf16 and there.bf16):
        lacks = there if here.bf16 else here
        return Scaling(why=f"no claim: {lacks.name} has no bf16 tensor cores; precision = fp16, or {BENCH}")
    compute = _compute(here, there, precision)
    if compute is None:
        return Scaling(why=f"no claim: only one of the two has TF32, and this trains in fp32; {BENCH}")
    ratio = (there.bandwidth_gb_s / here.bandwidth_gb_s) ** BANDWIDTH * compute**COMPUTE
    usual = precision == "fp16" and here.generation in MEASURED and there.generation in MEASURED
    spread = WITHIN if usual else ACROSS
    # The range is of the time: so much shorter, so much longer.
    return Scaling(value=ratio, low=ratio / (1 + spread), high=ratio / (1 - spread), why=_ground(here, there, usual))


def _compute(here: Gpu, there: Gpu, precision: Precision) -> float | None:
    """The ratio of what computes: tensor cores under autocast, TF32 or plain FP32 else."""
    if here.kind != "tensor cores":
        return there.fp32_tflops / here.fp32_tflops
    if precision != "fp32":
        assert here.tensor_tflops is not None and there.tensor_tflops is not None
        return there.tensor_tflops / here.tensor_tflops
    if (here.tf32_tflops is None) != (there.tf32_tflops is None):
        return None
    if here.tf32_tflops is not None and there.tf32_tflops is not None:
        return there.tf32_tflops / here.tf32_tflops
    return there.fp32_tflops / here.fp32_tflops


def _ground(here: Gpu, there: Gpu, usual: bool) -> str:
    said = "modelled: bandwidth^0.75 × tensor^0.25" if here.kind == "tensor cores" else "modelled: bandwidth and FP32"
    return said if usual else f"{said}, unseen for {here.generation}→{there.generation}"


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """A speed-up that somebody states, or has measured elsewhere: of a GPU over the machine that was measured here, at
    one batch size."""

    gpu: str
    low: float
    high: float
    batch: int


def quoted(stated: Quoted, batch: int) -> Scaling:
    """At that batch size alone: at 32 samples a T4 was 3.15 times as fast as a CPU, at 256 it was 19.2 times."""
    if stated.batch != batch:
        return Scaling(
            why=f"no claim: {_range(stated)} was stated for batch {stated.batch}, and this is batch {batch}; {BENCH}"
        )
    middle = (stated.low * stated.high) ** 0.5
    return Scaling(value=middle, low=stated.low, high=stated.high, why=f"stated by you: {_range(stated)}")


def _range(stated: Quoted) -> str:
    same = stated.low == stated.high
    return f"{stated.low:g}×" if same else f"{stated.low:g} to {stated.high:g}×"


def divided(seconds: float, low: float, high: float) -> tuple[float, float]:
    """What a speed-up quoted as a range makes of `seconds`, shortest first: the larger speed-up gives the shorter time.

    Raises ValueError for a speed-up that is none.
    """
    if not 0 < low <= high:
        raise ValueError(f"a speed-up from {low:g} to {high:g}: two numbers above 0, the smaller one first")
    return seconds / high, seconds / low
