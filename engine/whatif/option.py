"""Something that one can decide: which runs of a training, how long they take, what one gets and loses."""

from __future__ import annotations

import msgspec

from engine.config.run_keys import RunKey
from engine.diagnosis.consequences import Range
from engine.whatif.hardware_table import Money


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """`number` from 1. `keys`: the runs it trains; `folds`, `restarts` and `variants`: what those are of, ("",) where
    the plan has no variants; `stop_after_runs` ends it earlier, 0 does not. `timeline`: seconds until it is done, with
    a 90 % range."""

    number: int
    title: str
    runs: int
    folds: tuple[int, ...]
    restarts: int
    variants: tuple[str, ...] = ("",)
    keys: tuple[RunKey, ...] = ()
    stop_after_runs: int = 0
    timeline: Range = Range()
    money: Money = Money()
    gets: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
