"""Limits as a user writes them (12h, 2026-11-22T08:00, 25USD), and how much of them is left."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from engine.errors import UsageError
from engine.journals.limit_events import LimitKind, LimitReached, Limits, LimitSet, Rate

UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
LONGEST_SECONDS = 10 * 365 * 86_400.0
_PART = re.compile(r"(\d+(?:\.\d+)?) *(min|[dhms]) *", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_SYMBOLS = {"$": "USD", "€": "EUR", "£": "GBP"}
_MONEY = re.compile(r"(\d+(?:\.\d+)?) *([A-Z]{3})|([A-Z]{3}) *(\d+(?:\.\d+)?)", re.ASCII)
_MONEY_LIKE = re.compile(r"\d *[A-Za-z]{3}$|^[A-Za-z]{3} *\d|[$€£]|^\d+(?:\.\d+)?$")
_DATE = re.compile(r"\d{4}-?\d", re.ASCII)
_TIME_ALONE = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)
_DATE_ALONE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}", re.ASCII)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
GO_ON = "`steptop resume` with another --until, --deadline or --budget goes on"


class Money(NamedTuple):
    amount: float
    currency: str

    def __str__(self) -> str:
        return money(self.amount, self.currency)


class Due(NamedTuple):
    """A limit that is to come: in so many seconds, at a time of the clock. `text`: what it is called."""

    kind: LimitKind
    seconds: float
    at: float
    text: str
    quoted: str = ""

    @property
    def inner(self) -> str:
        return inner(self.text)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they were typed; None where nothing was said."""

    until: str | None = None
    deadline: str | None = None
    budget: str | None = None
    price: str | None = None
    partial_runs: str | None = None
    session_limit: str | None = None

    @property
    def any(self) -> bool:
        return any(value is not None for value in msgspec.structs.astuple(self))


NOTHING = Wanted()


# ---------------------------------------------------------------- reading what was typed


def duration(text: str, option: str = "--until") -> float:
    """Seconds of 90m, 12h, 1d6h. Raises UsageError."""
    plain = text.strip().lower()
    if not _DURATION.fullmatch(plain):
        raise UsageError(f"{option} {text!r}: a number with its unit, such as 90m, 12h or 1d6h")
    seconds = sum(float(number) * UNITS[unit] for number, unit in _PART.findall(plain))
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(f"{option} {text!r}: more than nothing, and at most ten years")
    return seconds


def deadline(text: str, now: float, option: str = "--deadline") -> float:
    """Seconds since 1970 of an ISO date and time; local where it names no time zone. `23:00`: when a clock here says so
    next. Raises UsageError."""
    if found := _TIME_ALONE.fullmatch(text.strip()):
        return deadline(_next(int(found[1]), int(found[2]), now, text, option), now, option)
    example = (datetime.fromtimestamp(now).astimezone() + timedelta(days=1)).strftime("%Y-%m-%dT08:00")
    if _DATE_ALONE.fullmatch(text.strip()):
        raise UsageError(f"{option} {text!r}: at what time of that day? Such as {text.strip()}T08:00")
    try:
        there = datetime.fromisoformat(text.strip())
    except ValueError as error:
        why = f"there is no such time ({error})" if "must be in" in str(error) or "out of range" in str(error) else ""
        raise UsageError(f"{option} {text!r}: {why or 'it is no date and time'}; write it as {example}") from None
    try:
        at = there.timestamp()
    except (OverflowError, OSError, ValueError):
        raise UsageError(f"{option} {text!r}: no clock goes there; write it as {example}") from None
    if there.tzinfo is None and datetime.fromtimestamp(at) != there:  # noqa: DTZ006  local, as it was typed
        raise UsageError(f"{option} {text!r}: that hour does not exist here, the clocks are put forward over it")
    if at <= now:
        raise UsageError(f"{option} {text!r} has passed: it is {clock(now)} here. A later one, such as {example}")
    if at > now + LONGEST_SECONDS:
        raise UsageError(f"{option} {text!r}: at most ten years from now")
    return at


def _next(hour: int, minute: int, now: float, text: str, option: str) -> str:
    """The date and time at which a clock here says that next."""
    here = datetime.fromtimestamp(now)  # noqa: DTZ006  local, as it was typed
    try:
        there = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError:
        raise UsageError(f"{option} {text!r}: a day has no such time; it goes from 00:00 to 23:59") from None
    return (there if there.timestamp() > now else there + timedelta(days=1)).isoformat()


def amount(text: str, option: str = "--budget") -> Money:
    """25USD, $25, 25 EUR. Raises UsageError."""
    plain = text.strip()
    for symbol, currency in _SYMBOLS.items():
        plain = plain.replace(symbol, currency)
    found = _MONEY.fullmatch(plain.upper())
    if found is None:
        missing = "say the currency too" if re.fullmatch(r"[\d.]+", plain) else "an amount and its currency"
        raise UsageError(f"{option} {text!r}: {missing}, such as 25USD")
    value = float(found[1] or found[4])
    if not 0 < value < 1e12:
        raise UsageError(f"{option} {text!r}: more than nothing")
    return Money(value, found[2] or found[3])


def typed(text: str) -> Wanted | None:
    """`12h`, `2026-11-22T08:00`, `25USD at 1.89USD`, several with commas; None for `none`. Raises UsageError."""
    if text.strip().lower() == "none":
        return None
    found: dict[str, str] = {}
    for part in text.split(","):
        word, _, price = part.strip().partition(" at ")
        dated = _DATE.match(word) or _TIME_ALONE.fullmatch(word)
        name = "deadline" if dated else "until" if _DURATION.fullmatch(word.lower()) else "budget"
        if name in found:
            raise UsageError(f"{text!r}: two of one kind")
        if name == "budget" and not _MONEY_LIKE.search(word):
            raise UsageError(f"{word!r}: a time such as 12h, a date as 2026-11-22T08:00, money as 25USD, or none")
        found |= {name: word} | ({"price": price} if price else {})
    return Wanted(**found)


def limits(
    wanted: Wanted, now: float, device: Callable[[], str], held: Limits | None = None, devices: int = 1
) -> Limits:
    """What was typed on top of what `held` already. `device` names the device to be trained on, and is asked only where
    a budget needs its price; that is of one of `devices`, all of which cost while it trains. Raises UsageError."""
    found = held or Limits()
    change = msgspec.structs.replace
    if wanted.until is not None:
        found = change(found, seconds=duration(wanted.until), asked=now)
    if wanted.deadline is not None:
        found = change(found, deadline=deadline(wanted.deadline, now))
    price = amount(wanted.price.strip().removesuffix("/h"), "--price") if wanted.price is not None else None
    if wanted.budget is not None:
        budget = amount(wanted.budget)
        found = change(found, budget=budget.amount, rate=rate(budget, price, found.rate, device))
    elif price is not None:
        if found.budget is None or found.rate is None:
            raise UsageError(f"--price {wanted.price}: it is the price of a --budget, and there is none")
        found = change(found, rate=rate(Money(found.budget, found.rate.currency), price, None, device))
    if wanted.partial_runs is not None:
        found = change(found, partial=wanted.partial_runs == "yes")
    if wanted.session_limit is not None:
        none = wanted.session_limit.strip().lower() == "none"
        found = change(found, session_seconds=0.0 if none else duration(wanted.session_limit, "--session-limit"))
    if found.rate is not None:
        found = change(found, rate=change(found.rate, devices=max(1, devices)))
    return change(found, asked=found.asked or now)


def rate(budget: Money, price: Money | None, held: Rate | None, device: Callable[[], str]) -> Rate:
    """What an hour costs: as the user says, as was said before, or as quoted for the device (its high end). Raises
    UsageError where that is nowhere said, or in another currency."""
    if price is not None:
        if price.currency != budget.currency:
            raise UsageError(
                f"a budget in {budget.currency} and a price in {price.currency}: steptop converts no currencies; "
                "give both in one"
            )
        return Rate(hourly=price.amount, currency=price.currency, basis="as given")
    if held is not None:
        if held.currency != budget.currency:
            raise UsageError(f"the price is in {held.currency} ({held.basis}): give the budget in {held.currency} too")
        return held
    from engine.whatif import hardware  # a sheet that only this needs

    name = device()
    gpu = hardware.find(name) if name else None
    own = f"say what an hour costs with --price, such as --price 0.50{budget.currency}"
    if gpu is None or gpu.price is None:
        what = f"no price is known for {name}" if gpu is not None else f"{name or 'the device'} is not in the GPU sheet"
        raise UsageError(f"--budget {budget} needs a price, and {what}: {own}")
    quoted = gpu.price
    if quoted.currency != budget.currency:
        raise UsageError(
            f"--budget {budget}: the price of {gpu.name} is quoted in {quoted.currency} ({quoted.low:g} to "
            f"{quoted.high:g}, {quoted.as_of}); give the budget in {quoted.currency}, or {own}"
        )
    basis = f"{gpu.name}, quoted {quoted.low:g} to {quoted.high:g} {quoted.currency}, {quoted.as_of}, {quoted.source}"
    return Rate(hourly=quoted.high, currency=quoted.currency, basis=f"{basis}; the high end counts")


def used_up(record: LimitSet, now: float, passed: float) -> str:
    """Why nothing can be begun under these limits; '' if it can. `passed`: seconds since the record."""
    held = record.limits
    if held.seconds is not None and record.elapsed + passed >= held.seconds:
        return f"its time limit ({span(held.seconds)}) is used up"
    if held.deadline is not None and held.deadline <= now:
        return f"its deadline ({clock(held.deadline)}) has passed"
    if held.budget is not None and held.rate is not None and record.spent >= held.budget:
        return f"its budget of {money(held.budget, held.rate.currency)} is spent"
    return ""


def outlived(wanted: Wanted, held: Limits, record: LimitSet, reached: LimitReached | None, now: float) -> Limits:
    """`held` without the limits that are used up, where another one was typed to go on with."""
    kind = reached.kind if reached is not None else ""
    change = msgspec.structs.replace
    if wanted.until is None and held.seconds is not None and (kind == "time" or record.elapsed >= held.seconds):
        held = change(held, seconds=None)
    if wanted.deadline is None and held.deadline is not None and (kind == "deadline" or held.deadline <= now):
        held = change(held, deadline=None)
    if wanted.budget is None and held.budget is not None and (kind == "budget" or record.spent >= held.budget):
        held = change(held, budget=None)
    return held


def same_again(reached: LimitReached | None, before: Limits, held: Limits) -> str:
    """Why nothing is gone on with after a stop for a limit that is as it was; '' where it is another one, or was a
    platform's."""
    fields = {"time": ("seconds", "asked"), "deadline": ("deadline",), "budget": ("budget",)}
    names = fields.get(reached.kind, ()) if reached is not None else ()
    if reached is None or not names or any(getattr(before, name) != getattr(held, name) for name in names):
        return ""
    return f"its {reached.text} is used up"


# ---------------------------------------------------------------- how much is left


def spent(record: LimitSet, passed: float) -> float:
    """Money, `passed` seconds after the record."""
    held = record.limits.rate
    return record.spent + (held.per_second * max(0.0, passed) if held is not None else 0.0)


def dues(record: LimitSet, now: float, passed: float) -> tuple[Due, ...]:
    """Every limit with what is left of it, the earliest first. `passed`: seconds since the record, by the monotonic
    clock wherever that can be read; `now`: the wall clock, which deadlines are of."""
    held, found = record.limits, []
    if held.seconds is not None:
        left = held.seconds - record.elapsed - passed
        found.append(Due("time", left, now + left, f"time limit ({span(held.seconds)})"))
    if held.deadline is not None:
        found.append(Due("deadline", held.deadline - now, held.deadline, f"deadline ({clock(held.deadline)})"))
    if held.budget is not None and held.rate is not None:
        left = (held.budget - spent(record, passed)) / held.rate.per_second
        found.append(Due("budget", left, now + left, f"budget ({money(held.budget, held.rate.currency)})"))
    if (session := record.session) is not None:
        of = "job" if session.kind == "slurm" else "session"
        length = span(session.seconds) if session.seconds else clock(session.at)
        said = f"{session.name} {of}'s end ({length}{', quoted' if session.quoted else ''})"
        found.append(Due(session.kind, session.at - now, session.at, said, session.quoted))
    return tuple(sorted(found, key=lambda due: due.seconds))


# ---------------------------------------------------------------- words


def inner(text: str) -> str:
    """A limit's name as it stands within parentheses: `time limit, 12 h`."""
    return text.replace(" (", ", ").removesuffix(")")


def span(seconds: float) -> str:
    """`12 h`, `90 min`, `1 d 6 h`, `45 s`: a length as it was asked for."""
    whole = round(seconds)
    if whole < 120 and whole % 60:
        return f"{seconds:g} s"
    if whole % 3600 and whole < 10 * 3600:
        return f"{whole // 60} min" if whole % 60 == 0 else f"{whole // 60} min {whole % 60} s"
    days, rest = divmod(whole, 86_400)
    hours, left = divmod(rest, 3600)
    if whole >= 48 * 3600 or (days and left == 0 and hours):
        return f"{days} d" + (f" {hours} h" if hours else "") + (f" {left // 60} min" if left >= 60 else "")
    return f"{whole // 3600} h" + (f" {left // 60} min" if left >= 60 else "")


def clock(at: float) -> str:
    """`Sun 22 Nov 08:00`, local."""
    there = time.localtime(at)
    day = f"{_WEEKDAYS[there.tm_wday]} {there.tm_mday} {_MONTHS[there.tm_mon - 1]}"
    return f"{day} {there.tm_hour:02d}:{there.tm_min:02d}"


def money(value: float, currency: str) -> str:
    """`25 USD`, `12.40 USD`."""
    digits = 0 if math.isclose(value, round(value), abs_tol=0.005) else 2
    return f"{value:,.{digits}f} {currency}"
