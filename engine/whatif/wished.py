"""An epoch of a wished length: how many steps it may have, and whether what is planned is longer."""

from __future__ import annotations

from math import floor

import msgspec


class Wish(msgspec.Struct, frozen=True):
    """How long an epoch shall take, seconds."""

    low: float
    high: float


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """`epoch_seconds` and `seconds` (all epochs) of what is planned; `fewest` and `most` steps that take as long as
    wished; `text`: the same in words, '' when it is not too long."""

    epoch_seconds: float
    seconds: float
    fewest: int
    most: int
    too_long: bool
    text: str = ""


def steps_for(wished_seconds: float, step_seconds: float, beside_seconds: float = 0.0) -> int:
    """The most steps an epoch of at most `wished_seconds` can have, one at least; `beside_seconds`: what else is in it
    (validation, checkpoints). Raises ValueError for a step that takes no time."""
    if step_seconds <= 0:
        raise ValueError(f"a step of {step_seconds} s: it takes more than no time")
    return max(1, floor((wished_seconds - beside_seconds) / step_seconds * (1 + 1e-12)))


def judged(steps: int, epochs: int, step_seconds: float, wish: Wish, beside_seconds: float = 0.0) -> Judged:
    """Whether an epoch of so many steps takes longer than wished, and how many would not."""
    epoch = steps * step_seconds + beside_seconds
    fewest, most = (steps_for(seconds, step_seconds, beside_seconds) for seconds in (wish.low, wish.high))
    too_long = epoch > wish.high
    text = ""
    if too_long:
        text = (
            f"too long: an epoch of {steps:,} steps takes {_said(epoch)}, {epochs:,} of them {_said(epochs * epoch)}; "
            f"{_said(wish.low)} to {_said(wish.high)} an epoch are {fewest:,} to {most:,} steps"
        )
    return Judged(
        epoch_seconds=epoch, seconds=epochs * epoch, fewest=fewest, most=most, too_long=too_long, text=text
    )


def _said(seconds: float) -> str:
    """`13.3 d`, `8 h`, `12 min`."""
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size or (unit != "d" and seconds >= size):
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"
