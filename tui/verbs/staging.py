"""estimate --stages: a staged plan, how far it has come, and what comes next."""

from __future__ import annotations

import argparse
import shlex

import msgspec

from engine.whatif import hardware, session_limits, stages
from engine.whatif.stages import Progressed
from tui.estimating import between, middle, money
from tui.verbs.common import say

TICKS = {True: "✔", False: "✖", None: "·"}


def staged(options: argparse.Namespace) -> int:
    """Stages in their order; the command of the first that has not passed."""
    plan = stages.named(options.stages)
    sheet, sessions = hardware.gpus(options.hardware), session_limits.sessions(options.hardware)
    found = stages.progress(plan, options.logs, sheet, sessions, options.data)
    coming = stages.following(found)
    if options.json:
        body = {
            "format": 1,
            "title": plan.title,
            "experiment": plan.experiment,
            "stages": [msgspec.to_builtins(one) for one in found],
            "next": coming.stage.name if coming is not None else None,
        }
        print(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
        return 0
    say(plan.title or plan.experiment)
    for number, one in enumerate(found, 1):
        for line in stage_lines(number, one):
            say(line)
    say()
    if coming is None:
        say("every stage has passed")
    elif coming.standing == "under way":
        say(f"{coming.stage.name} is under way; `steptop` shows it")
    else:
        said = {"failed": "mend what failed, then start it again", "stopped": "`steptop resume` goes on with it"}
        say(f"next: {coming.stage.name}" + (f" ({said[coming.standing]})" if coming.standing in said else ""))
        say(shlex.join(coming.command))
    return 0


def stage_lines(number: int, one: Progressed) -> list[str]:
    """Time, platform, purpose, cost, then its checklist."""
    stage = one.stage
    where = f"{stage.platform}{f', {stage.gpu}' if stage.gpu else ''}"
    if one.time.value is None:
        time = f"time not known: {one.why}"
    elif one.measured:
        time = f"took {middle(one.time)}"
    else:
        time = f"{middle(one.time)} ({between(one.time)}; {one.why})"
    cost = one.money.text if one.money.text == "free" else money(one.money) if one.money.low is not None else ""
    lines = [f"{number}. {stage.name}: {one.standing}", f"   on {where}: {time}{f', {cost}' if cost else ''}"]
    lines += [f"   {stage.purpose}"] if stage.purpose else []
    lines += [f"   {one.fits.session}: {one.fits.text}"] if one.fits is not None else []
    for tick in one.ticks:
        lines.append(f"   {TICKS[tick.done]} {tick.text}" + (f" ({tick.evidence})" if tick.evidence else ""))
    return lines
