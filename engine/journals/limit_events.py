"""Limits of an experiment as data: what was asked for, what a platform allows, and what a journal says of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.journals.record import Record

# time, deadline and budget are the user's; the others are the platform's.
LimitKind: TypeAlias = Literal["time", "deadline", "budget", "slurm", "kaggle", "colab"]


class Rate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an hour of one device costs, of how many `devices`; `basis`: who says so, and when."""

    hourly: float
    currency: str
    devices: int = 1
    basis: str = ""

    @property
    def per_second(self) -> float:
        return self.hourly * self.devices / 3600


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a user asked for; nothing of it by default.

    `seconds`: from `asked` (s since 1970) on. `deadline`: s since 1970. `budget`: in the rate's currency, for all
    attempts of the experiment together. `partial`: whether a run may be begun that will not be done in time; None:
    where the trainer is steptop's own, which goes on from a checkpoint. `session_seconds`: how long the platform's
    session may last in place of what is quoted; 0 for without end.
    """

    asked: float = 0.0
    seconds: float | None = None
    deadline: float | None = None
    budget: float | None = None
    rate: Rate | None = None
    partial: bool | None = None
    session_seconds: float | None = None

    @property
    def any(self) -> bool:
        return self.seconds is not None or self.deadline is not None or self.budget is not None


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A platform ends everything at `at` (s since 1970). `quoted`: who says how long it lasts, and when that was; empty
    where the platform itself says when it ends."""

    kind: LimitKind
    name: str
    at: float
    seconds: float = 0.0
    quoted: str = ""


class OnFinish(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command of the user's for when the experiment has ended; not after a stop that was asked for, unless
    `always`."""

    argv: tuple[str, ...]
    always: bool = False
    timeout_seconds: float = 600.0


class LimitSet(Record, frozen=True, kw_only=True, tag="limit"):
    """What limits it from here on, and what was used up by then: `elapsed` of the time limit (s), `used` by all
    attempts (s of every device), `spent` for that. `boot_id` makes `m` comparable."""

    limits: Limits
    session: Session | None = None
    elapsed: float = 0.0
    used: float = 0.0
    spent: float = 0.0
    id: str = ""
    by: str = ""
    boot_id: str = ""


class LimitReached(Record, frozen=True, kw_only=True, tag="limit_reached"):
    """It stops because of a limit. `left`: seconds until then; `needed`: what finishing a step and a checkpoint may
    take, or a run that was not begun (`begun` False)."""

    kind: LimitKind
    text: str
    left: float = 0.0
    needed: float = 0.0
    begun: bool = True


class OnFinishRan(Record, frozen=True, kw_only=True, tag="on_finish"):
    """The user's command after the end. `rc` None: it is only just starting, or could not (`error`)."""

    command: str
    rc: int | None = None
    seconds: float = 0.0
    timed_out: bool = False
    error: str = ""


class NotifyFailed(Record, frozen=True, kw_only=True, tag="notify_failed"):
    """A webhook did not take `event`. `target`: scheme and host, never the rest."""

    target: str
    event: str
    error: str
    tries: int = 0
