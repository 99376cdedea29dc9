"""How many steps, epochs or restarts make something take as long as wished."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from engine.diagnosis.consequences import Range
from engine.errors import UsageError
from engine.whatif.known import Known
from engine.whatif.session_limits import duration
from engine.whatif.what_if import Question, Times, shape_of, times

What: TypeAlias = Literal["epoch", "run", "experiment"]

# What is asked for, and what is turned to get it.
TURNED: dict[What, str] = {"epoch": "steps_per_epoch", "run": "epochs", "experiment": "restarts"}
WISH = re.compile(r"^(?:(epoch|run|experiment)=)?([\d.]+[mhd]?)-([\d.]+[mhd])$")
MOST = {"steps_per_epoch": 1_000_000, "epochs": 1_000_000, "restarts": 10_000}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """`what` shall take `low` to `high` seconds."""

    what: What
    low: float
    high: float


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """`least` to `most` of what is turned bring it about; both None: no number does, and `text` says why. `now`: what
    it takes as asked. `hardware`: what it is of; '' is the machine that was measured."""

    wish: Wish
    turned: str
    now: Range
    hardware: str = ""
    least: int | None = None
    most: int | None = None
    text: str = ""


def parse(text: str) -> Wish:
    """`6h-8h`, `run=2d-3d`. Raises UsageError."""
    match = WISH.match(text.strip())
    if match is None:
        raise UsageError(f"--wish {text!r}: write it as 6h-8h (of an epoch), run=2d-3d or experiment=5d-7d")
    high = duration(match[3])
    low = duration(match[2] if match[2][-1] in "mhd" else match[2] + match[3][-1])
    if low > high:
        raise UsageError(f"--wish {text!r}: the shorter time comes first")
    what: What = match[1] or "epoch"  # type: ignore[assignment]
    return Wish(what=what, low=low, high=high)


def granted(
    known: Known,
    question: Question,
    wish: Wish,
    asked: Callable[[Question], Times] | None = None,
    hardware: str = "",
) -> Granted:
    """Found by trying: a time never falls when there is more to do. `asked`: what a question comes to on `hardware`;
    None: on the machine that was measured."""
    turned, ask = TURNED[wish.what], asked or (lambda question: times(known, question))
    as_asked = ask(question)
    now: Range = getattr(as_asked, wish.what)
    without = Granted(wish=wish, turned=turned, now=now, hardware=hardware)
    if now.value is None:
        return msgspec.structs.replace(without, text=as_asked.why)

    def seconds(count: int) -> float:
        more: Range = getattr(ask(msgspec.structs.replace(question, **{turned: count})), wish.what)
        return more.value or 0.0

    most = _largest(seconds, wish.high, MOST[turned])
    if most is None:
        step = as_asked.step.value or 0.0
        runs = len(shape_of(known, question).runs)
        why = f"not even 1 {_noun(turned)} ends within that: a step takes {step:.3g} s, and there are {runs} runs"
        return msgspec.structs.replace(without, text=why)
    below = _largest(seconds, wish.low, MOST[turned])
    if below == MOST[turned] and seconds(below) < wish.low:
        text = f"not even {below:,} {turned.replace('_per_', ' an ').replace('_', ' ')} take so long"
        return msgspec.structs.replace(without, text=text)
    least = 1 if below is None else min(below + (seconds(below) < wish.low), MOST[turned])
    if least > most:
        return msgspec.structs.replace(without, text=f"no whole number of {_noun(turned)} comes to that")
    return msgspec.structs.replace(without, least=least, most=most)


def _largest(seconds: Callable[[int], float], limit: float, most: int) -> int | None:
    """The largest count whose time is within the limit; None: not even 1 is."""
    if seconds(1) > limit:
        return None
    low, high = 1, 2
    while high < most and seconds(high) <= limit:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if seconds(middle) <= limit else (low, middle)
    return min(low, most)


def _noun(turned: str) -> str:
    return {"steps_per_epoch": "step an epoch", "epochs": "epoch", "restarts": "restart"}[turned]
