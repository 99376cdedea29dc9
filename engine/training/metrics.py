"""How well a segmentation agrees with the truth, from four counts of voxels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Counts(NamedTuple):
    """Voxels that are foreground in both (tp), only in the prediction (fp), only in the truth (fn), in neither (tn)."""

    tp: int
    fp: int
    fn: int
    tn: int


def counts(predicted: Tensor, truth: Tensor) -> Counts:
    """Both boolean and of one shape. Reads from the device, which waits for it."""
    tp, p, t = (int(x) for x in ((predicted & truth).sum(), predicted.sum(), truth.sum()))
    return Counts(tp, p - tp, t - tp, truth.numel() - p - t + tp)


def dice(c: Counts) -> float:
    """2|P∩T| / (|P|+|T|); 1 when both are empty."""
    both = 2 * c.tp + c.fp + c.fn
    return 2 * c.tp / both if both else 1.0


def avd(c: Counts) -> float:
    """Absolute volume difference, ||P|-|T|| / |T|; not a number without any truth."""
    truth = c.tp + c.fn
    return abs(c.fp - c.fn) / truth if truth else math.nan


def mcc(c: Counts) -> float:
    """Matthews' correlation coefficient, -1 … 1; 0 where a margin is empty and it is not defined."""
    margins = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
    return (c.tp * c.tn - c.fp * c.fn) / math.sqrt(margins) if margins else 0.0


METRICS: dict[str, Callable[[Counts], float]] = {"dice": dice, "avd": avd, "mcc": mcc}
