"""What every line of a journal has, and the small parts that several kinds of lines share."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

FORMAT = 1

SPANS = ("data", "h2d", "forward", "loss", "backward", "optimizer")
Stop: TypeAlias = Literal["after_run", "now", "force"]
Outcome: TypeAlias = Literal["finished", "stopped", "failed", "lost"]
Level: TypeAlias = Literal["info", "good", "warn", "bad"]
Mode: TypeAlias = Literal["train", "resident", "load"]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="k"):
    """Every line: `n` counts up by one in a file, `t` is the wall clock (s since 1970), `m` the monotonic one (s)."""

    n: int = 0
    t: float = 0.0
    m: float = 0.0


class Spans(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Seconds in each part of a step, summed over the record's steps."""

    data: float = 0.0
    h2d: float = 0.0
    forward: float = 0.0
    loss: float = 0.0
    backward: float = 0.0
    optimizer: float = 0.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something ended: `kind` from engine.runs.verdict, said in words, with what shows it and what to do."""

    kind: str
    text: str
    evidence: tuple[str, ...] = ()
    advice: str = ""
    sure: bool = True
