"""What a step takes of a GPU's memory at another batch size: fitted where two were measured, estimated before."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.memory.footprint import Footprint, Peak
from engine.sizes import said as said

Basis: TypeAlias = Literal["measured here", "modelled", "estimated", "unknown"]
Verdict: TypeAlias = Literal["fits", "tight", "over", "unknown"]

# Two measured peaks lie on a line but for the allocator's rounding and other convolution algorithms.
FITTED = 0.04
# Weights, gradients and AdamW's two moments, four bytes each.
BYTES_PER_PARAMETER = 16
# From one peak alone: at least this much of what is not weights grows with the batch (the rest would be workspace).
LEAST_GROWING = 0.7
# An estimate knows nothing of convolution workspaces and fragmentation; how much they are on GPUs is not measured yet.
ESTIMATE_LOW, ESTIMATE_HIGH = 0.9, 1.4


class Part(msgspec.Struct, frozen=True):
    """One term of a sum, bytes: `low` to `high` with `bytes` the usual. `basis`: where it is from."""

    name: str
    text: str
    low: float
    bytes: float
    high: float
    basis: Basis

    def times(self, count: int, noun: str) -> Part:
        """So many of it: `4 workers × 7.0 GiB`."""
        text = f"{count} {noun}{'' if count == 1 else 's'} × {said(self.bytes)}{self.text}"
        return Part(f"{noun}s", text, count * self.low, count * self.bytes, count * self.high, self.basis)


def vram_parts(batch: int, known: Footprint) -> tuple[Part, ...]:
    """What does not depend on the batch, and the activations of every sample in it.

    The size of a sample is never taken for its cost: a 3D U-Net keeps several hundred times its input for the backward
    pass.
    """
    peaks = known.peaks
    if len({peak.batch for peak in peaks}) >= 2:
        fixed, each = _fit(peaks)
        each = max(each, float(known.sample_bytes))
        return _parts(batch, known, fixed, (each, each, each), FITTED, "measured here")
    if peaks:
        return _from_one(batch, known, peaks[0])
    if known.estimate is not None:
        each = known.estimate.activations / known.estimate.batch
        scaled = (ESTIMATE_LOW * each, each, ESTIMATE_HIGH * each)
        return _parts(batch, known, known.estimate.fixed, scaled, 0.0, "estimated")
    return (Part("step", "not known before a step was measured or estimated", 0.0, 0.0, 0.0, "unknown"),)


def _fit(peaks: tuple[Peak, ...]) -> tuple[float, float]:
    """Least squares over all of them: bytes at batch 0, and per sample."""
    count = len(peaks)
    mean_batch = sum(peak.batch for peak in peaks) / count
    mean_bytes = sum(peak.bytes for peak in peaks) / count
    across = sum((peak.batch - mean_batch) ** 2 for peak in peaks)
    each = sum((peak.batch - mean_batch) * (peak.bytes - mean_bytes) for peak in peaks) / across
    return max(0.0, mean_bytes - each * mean_batch), each


def _from_one(batch: int, known: Footprint, peak: Peak) -> tuple[Part, ...]:
    """One measured peak, split into what grows with the batch and what does not."""
    fixed = min(known.parameters * BYTES_PER_PARAMETER, peak.bytes)
    most = (peak.bytes - fixed) / peak.batch
    least = LEAST_GROWING * most
    if known.estimate is not None:
        least = min(most, max(least, known.estimate.activations / known.estimate.batch))
    usual = (least + most) / 2
    if batch == peak.batch:
        return _parts(batch, known, peak.bytes - usual * batch, (usual, usual, usual), FITTED, "measured here")
    low, high = (peak.bytes + (batch - peak.batch) * slope for slope in (least, most))
    middle = peak.bytes + (batch - peak.batch) * usual
    parts = _parts(batch, known, middle - usual * batch, (usual, usual, usual), 0.0, "modelled")
    spread = (min(low, high) - middle, max(low, high) - middle)
    return (parts[0], msgspec.structs.replace(parts[1], low=parts[1].low + spread[0], high=parts[1].high + spread[1]))


def _parts(
    batch: int, known: Footprint, fixed: float, each: tuple[float, float, float], error: float, basis: Basis
) -> tuple[Part, ...]:
    low, usual, high = (batch * value for value in each)
    margin = error * (fixed + usual)
    count = f"{batch} × {said(each[1])}" if batch > 1 else said(each[1])
    least = f", not the {said(known.sample_bytes)} of its input" if known.sample_bytes else ""
    return (
        Part("fixed", f"weights, gradients, optimizer and workspace {said(fixed)}", fixed, fixed, fixed, basis),
        Part(
            "activations",
            f"{count} of activations a sample (kept for the backward pass{least})",
            max(0.0, low - margin),
            usual,
            high + margin,
            basis,
        ),
    )
