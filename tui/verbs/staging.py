"""estimate --stages: a staged plan, how far it has come, and what comes next."""

from __future__ import annotations

import argparse
import shlex

import msgspec

from engine.diagnosis.consequences import Range
from engine.errors import UsageError
from engine.whatif import hardware, session_limits, staged_plan, stages
from engine.whatif.hardware_table import TOO_SMALL
from engine.whatif.stages import Progressed
from tui.estimating import between, middle, money
from tui.verbs.common import say

TICKS = {True: "✔", False: "✖", None: "·"}


def staged(options: argparse.Namespace) -> int:
    """Stages in their order; the command of the first that has not passed."""
    _alone(options)
    plan = staged_plan.named(options.stages)
    asked = stages.of_name(plan, options.experiment)
    sheet, sessions = hardware.gpus(options.hardware), session_limits.sessions(options.hardware)
    found = stages.progress(plan, options.logs, sheet, sessions, options.data)
    coming = stages.following(found)
    shown = [(number, one) for number, one in enumerate(found, 1) if one.stage in asked]
    if options.json:
        body = {
            "format": 1,
            "title": plan.title,
            "experiment": plan.experiment,
            "stages": [msgspec.to_builtins(one) for _, one in shown],
            "next": coming.stage.name if coming is not None else None,
        }
        print(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
        return 0
    say(plan.title or plan.experiment)
    for number, one in shown:
        for line in stage_lines(number, one):
            say(line)
    say()
    if coming is None:
        say("every stage has passed")
    elif coming.standing == "under way":
        say(f"{coming.stage.name} is under way; `steptop` shows it")
    else:
        away = coming.stage.platform != staged_plan.HERE
        onward = f"`steptop resume {coming.stage.folder}` goes on with it"
        said = {"failed": "mend what failed, then start it again", "stopped": onward}
        say(f"next: {coming.stage.name}" + (f" ({said[coming.standing]})" if coming.standing in said else ""))
        if away:
            say(f"on {coming.stage.platform}; its folder, brought into {options.logs}, ticks the list here:")
        if stages.DIR in coming.command:
            there = " there" if away else ""
            say(f"{stages.DIR}: the folder of its volumes{there}; `--data` puts it into these commands")
        say(shlex.join(coming.command))
    return 0


def _alone(options: argparse.Namespace) -> None:
    """Raises UsageError for what says what is trained: a staged plan says that itself."""
    given = {
        "--profile": options.profile, "--gpu": options.gpu, "--gpus": options.gpus > 1, "--cores": options.cores,
        "--epochs": options.epochs, "--steps-per-epoch": options.steps_per_epoch, "--folds": options.folds,
        "--restarts": options.restarts, "--rest": options.rest, "--set": options.settings, "--wish": options.wish,
        "--session": options.session, "--speedup": options.speedup, "--decide": options.decide is not None,
    }  # fmt: skip
    if names := [name for name, value in given.items() if value]:
        raise UsageError(f"--stages {options.stages}: its file says that of each stage; leave out {', '.join(names)}")


def stage_lines(number: int, one: Progressed) -> list[str]:
    """Purpose, platform, time, cost, what fits, then its checklist."""
    stage = one.stage
    where = "here" if stage.platform == staged_plan.HERE else f"on {stage.platform}"
    where += f", {stage.gpu}" if stage.gpu else ""
    lines = [f"{number}. {stage.name}: {one.standing}", f"   {stage.experiment} {where}: {_time(one)}"]
    lines += [f"   cost: {_cost(one)}"] if _cost(one) else []
    lines += [f"   {stage.purpose}"] if stage.purpose else []
    if one.fits is not None and not one.measured:
        known = f"{one.fits.text}; " if one.time.value is not None else ""
        lines.append(f"   {one.fits.session}: {known}{one.fits.quoted}")
    for tick in one.ticks:
        lines.append(f"   {TICKS[tick.done]} {tick.text}" + (f" ({tick.evidence})" if tick.evidence else ""))
    return lines


def _time(one: Progressed) -> str:
    if one.measured:
        return f"took {middle(one.time)}, all attempts together"
    time = f"time not known: {one.why}"
    if one.time.value is not None:
        time = f"{middle(one.time)} ({between(one.time)}; {one.why})"
    return f"{time}; {middle(Range(one.spent))} so far" if one.spent else time


def _cost(one: Progressed) -> str:
    """With who says so and when."""
    if one.money.low is None or one.money.text == "free":
        return "" if one.money.text == TOO_SMALL else one.money.text
    said = ", ".join(text for text in (one.money.source, one.money.as_of) if text)
    return f"{money(one.money)}{f' ({said})' if said else ''}"
