"""limit: what shall end a living experiment in time; and how limits are said before a launch and in a status."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from engine import status as contract
from engine.config.plan import Plan
from engine.errors import UsageError
from engine.eta.forecast import Forecast, forecast
from engine.journals.journal import read
from engine.journals.limit_events import Limits, LimitSet, Rate
from engine.limit import afterwards, allowance, asked, limits, platforms
from engine.live.state import ENDED, ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from engine.runs import control
from engine.runs.spending import reckoned
from tui import limit_options
from tui.verbs.common import find, say

ANSWER_SECONDS = 5.0
# Sessions whose length is quoted: they end about then.
SESSIONS, END = ("kaggle", "colab"), " session's end"


def limit(options: argparse.Namespace) -> int:
    """Show what holds; with options, ask for other limits and wait for the supervisor's answer."""
    folder = find(options.logs, options.experiment)
    state = Watch(folder).poll()
    wanted = limit_options.wanted(options)
    if options.none and wanted.any:
        raise UsageError("--none beside a limit: leave one of them out")
    if not options.none and not wanted.any:
        seen = contract.status(state).limit
        over = state.phase in ENDED
        lines = ended_lines(state) if over else []
        lines += limit_lines(seen, state) if seen is not None else []
        if over and state.phase != "finished" and not afterwards.refused(state):
            lines.append(f"  `steptop resume {state.plan.name}` goes on")
        for line in lines or ["  no limit"]:
            say(f"{folder.name}:{line[1:]}")
        return 0
    if options.readonly:
        raise UsageError("--readonly: `limit` with another limit changes something; leave one of them out")
    if not state.supervisor_alive or state.ended is not None:
        raise UsageError(
            f"{folder.name} is not running (it is {state.phase}); `steptop resume {folder.name} --until 12h` goes on "
            "with a limit"
        )
    ask(folder, None if options.none else wanted)
    return 0


def ended_lines(state: ExperimentState) -> list[str]:
    """Of what has ended: what became of each limit."""
    allowed = allowance.allowance(state)
    if allowed is None:
        return [f"  no limit; it is {state.phase}"]
    said = [f"its {due.text} {afterwards.became(due, state.reached)}" for due in allowed.dues]
    return [f"  it is {state.phase}; {'; '.join(said)}"]


def refused_line(state: ExperimentState, why: str) -> str:
    """The command that goes on although a limit is used up."""
    onward = f"steptop resume {state.plan.name}{afterwards.resume_options(state, why)}"
    return f"  {why}: `{onward}` goes on, or another --until, --deadline or --budget"


def ask(folder: Path, wanted: limits.Wanted | None) -> None:
    """Other limits for what is running; None takes them away. Raises UsageError where that is refused."""
    paths, state = ExperimentPaths(folder), Watch(folder).poll()
    held = Limits(asked=time.time()) if wanted is None else asked.of_training(state, wanted)
    name = control.request(paths, "limit", by="the command line", limits=held)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        answer = control.answer_to(paths, name)
        if answer is not None:
            if not answer.accepted:
                raise UsageError(answer.text)
            fit = allowance.allowance(Watch(folder).poll())
            say(f"{folder.name}: {answer.text}" + (f"; {fit.fit.text}" if fit is not None and fit.fit else ""))
            return
        time.sleep(0.05)
    say(f"{folder.name}: asked for, not acknowledged yet; it holds as soon as its supervisor reads it")


def foretold_again(folder: Path, left: ExperimentState, stop_after_runs: int) -> Iterator[str]:
    """The same of an experiment that is gone on with. `left`: how it was found."""
    plan = read_json(ExperimentPaths(folder).plan, Plan)
    if plan is None or plan.test is not None:
        return
    state = msgspec.structs.replace(
        left, phase="queued", ended=None, stop=None, runs_ended_here=0, stop_after_runs=stop_after_runs
    )

    def ends(count: int) -> Forecast:
        return forecast(msgspec.structs.replace(state, stop_after_runs=count))

    plan = msgspec.structs.replace(plan, stop_after_runs=stop_after_runs)
    used = reckoned(read(ExperimentPaths(folder).events), plan.limits, 0.0)
    yield from foretold(plan, lambda: ends, state.runs_finished, used)


def foretold(
    plan: Plan, ends: Callable[[], Callable[[int], Forecast] | None], done: int = 0, used: LimitSet | None = None
) -> Iterator[str]:
    """Before a launch: which limit comes first, and how many runs fit. `ends`, asked only where there is a limit: when
    so many runs more than the `done` ones would end, None where nothing tells. `used`: what is gone of the limits."""
    now = time.time()
    session = platforms.here(plan.limits.session_seconds)
    record = msgspec.structs.replace(used or LimitSet(limits=plan.limits, t=now), session=session)
    for number, due in enumerate(limits.dues(record, now, 0.0)):
        if number == 0:
            yield f"limit: {ends_words(due)}"
            prospect = ends()
            left = len(plan.runs) - done
            left = min(left, plan.stop_after_runs or left)
            fit = (
                allowance.fit(lambda count: prospect(count).experiment, left, due.seconds, done)  # noqa: B023
                if prospect is not None
                else None
            )
            unknown = "how many runs fit is not known yet; no earlier run of this kind"
            yield f"limit: {fit.text if fit is not None else unknown}"
        else:
            yield f"limit: later, {ends_words(due)}"
    rate = plan.limits.rate
    if plan.limits.budget is not None and rate is not None:
        yield f"limit: an hour costs {rate.hourly * rate.devices:g} {rate.currency}{of_each(rate)} ({rate.basis})"


def of_each(rate: Rate) -> str:
    """` for 2 devices`; nothing of one."""
    return f" for {rate.devices} devices" if rate.devices > 1 else ""


def ends_words(due: limits.Due) -> str:
    """`ends by Sun 22 Nov 08:00 at the latest: its time limit (12 h)`; a platform's in its own words."""
    if due.kind in SESSIONS:
        said = f"; {due.quoted}" if due.quoted else ""
        return f"this session ends about {limits.clock(due.at)} ({due.inner.replace(END, '')}{said})"
    return f"ends by {limits.clock(due.at)} at the latest: its {due.text}"


def limit_lines(seen: contract.LimitStatus, state: ExperimentState) -> list[str]:
    """For a status: when it ends at the latest, what fits, what was spent; once it has ended how it goes on although a
    limit is used up."""
    why = afterwards.refused(state)
    lines = [refused_line(state, why)] if why else []
    if state.phase not in ENDED:
        fits, at = f": {seen.sentence}" if seen.sentence else "", limits.clock(seen.at)
        if seen.kind in SESSIONS:
            lines.append(f"  this session ends about {at} ({limits.inner(seen.text).replace(END, '')}){fits}")
        else:
            lines.append(f"  ends by {at} at the latest ({limits.inner(seen.text)}){fits}")
        lines += [f"  {seen.quoted}"] if seen.quoted else []
        lines += [f"  and later its {', its '.join(seen.also)}"] if seen.also else []
    if seen.budget is not None and seen.spent is not None and seen.currency is not None:
        lines.append(
            f"  {limits.money(seen.spent, seen.currency)} of {limits.money(seen.budget, seen.currency)} spent; an hour "
            f"costs {seen.hourly:g} {seen.currency} ({seen.price_basis})"
        )
    return lines

