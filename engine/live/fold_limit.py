"""Sentences about limits, and about what is done after an end."""

from __future__ import annotations

from engine.counts import plural
from engine.journals.limit_events import LimitReached, LimitSet, NotifyFailed, OnFinishRan
from engine.journals.record import Level
from engine.limit import limits


def limit_words(record: LimitSet, former: LimitSet | None) -> tuple[str, Level]:
    """What holds from now on."""
    dues = limits.dues(record, record.t, 0.0)
    by = f", asked for by {record.by}" if record.by else ""
    if not dues:
        return (f"no limit any more{by}" if former is not None else ""), "info"
    first = dues[0]
    quoted = f"; {first.quoted}" if first.quoted else ""
    text = f"ends by {limits.clock(first.at)} at the latest: its {first.text}{quoted}{by}"
    rate = record.limits.rate
    if record.limits.budget is not None and rate is not None:
        text += f"; {limits.money(record.spent, rate.currency)} spent, an hour costs {rate.hourly:g} {rate.currency}"
        text += f" × {plural(rate.devices, 'device')}" if rate.devices > 1 else ""
        text += f" ({rate.basis})" if rate.basis else ""
    return text, "info"


def reached_words(record: LimitReached) -> tuple[str, Level]:
    if not record.begun:
        return f"no further run is begun: its {record.text} is too near", "warn"
    return f"its {record.text} is near: a stop takes up to {limits.span(max(1.0, round(record.needed)))}", "warn"


def finished_words(record: OnFinishRan | NotifyFailed) -> tuple[str, Level]:
    if isinstance(record, NotifyFailed):
        tries = plural(record.tries, "try").replace("trys", "tries")
        return f"{record.target} could not be told ({record.event}): {record.error}, {tries}", "warn"
    if record.error:
        return f"on-finish command {record.command} could not be started: {record.error}", "bad"
    if record.timed_out:
        return f"on-finish command {record.command} was ended after {limits.span(round(record.seconds))}", "bad"
    if record.rc is None:
        return f"on-finish command {record.command} starts", "info"
    if record.rc:
        return f"on-finish command {record.command} ended with {record.rc}; see on-finish.log", "bad"
    return f"on-finish command {record.command} is done", "good"
