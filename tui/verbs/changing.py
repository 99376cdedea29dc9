"""change: another profile for a training that goes on."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.config.profile import parse_settings
from engine.config.run_keys import RunKey
from engine.errors import UsageError
from engine.journals.events import ProfileChanged
from engine.journals.journal import read
from engine.live.watch import Watch
from engine.machine.cores import machine
from engine.paths import ExperimentPaths
from engine.runs import control, living
from engine.runs.choice import choose
from tui.verbs.common import find, say

ANSWER_SECONDS = 5.0
# A trainer looks for a new profile between two steps, which may be half a minute apart.
TAKEN_SECONDS = 60.0
# Options of a launch, each with a value, that another launch may do without.
VALUED = ("--stop-after-run", "--profile", "--set")


def change(options: argparse.Namespace) -> int:
    """Ask for it, and wait until the trainer has taken it up."""
    folder = find(options.logs, options.experiment)
    paths, state = ExperimentPaths(folder), Watch(folder).quick()
    if options.profile is None and not options.settings:
        raise UsageError("name a --profile, or knobs with --set KNOB=VALUE")
    if not state.supervisor_alive:
        instead = _otherwise(state.plan, state.phase, options)
        raise UsageError(f"{folder.name} is not running (it is {state.phase}){instead}")
    knobs = wanted(options, state.plan.profile.knobs, folder)
    asked = living.changes(state.plan, knobs)
    if not asked:
        say(f"{folder.name}: runs with that already")
        return 0
    name = control.request(
        paths,
        "profile",
        by="the command line",
        profile=options.profile or living.called(asked),
        knobs=asked,
        override=options.override_locks,
    )
    answer = _answer(paths, name)
    if answer is None:
        say(f"{folder.name}: asked for, not acknowledged yet; it happens as soon as its supervisor reads it")
        return 0
    if not answer.accepted:
        raise UsageError(answer.text)
    values = ", ".join(f"{knob} {shown(state.plan.profile[knob])}→{shown(value)}" for knob, value in asked.items())
    taken = _taken(paths, state.plan.runs[state.current or 0], name) if state.trainer_alive else None
    if taken is None:
        say(f"{folder.name}: {values} from the next step on")
    elif taken.error:
        raise UsageError(taken.error)
    else:
        say(f"{folder.name}: {values} since step {taken.step + 1:,} (it stood still for {taken.seconds:.2g} s)")
    return 0


def wanted(options: argparse.Namespace, held: dict[str, Value], folder: Path) -> dict[str, Value]:
    """All knobs that the command line asks for; those it says nothing of stay as they are."""
    settings = parse_settings(options.settings, machine())
    if options.profile is None:
        return held | settings
    plan = Watch(folder).quick().plan
    profile, _ = choose(plan.experiment, options.profile, settings, options.logs, plan.device, True)
    return profile.knobs


def _otherwise(plan: Plan, phase: str, options: argparse.Namespace) -> str:
    """How what is asked for is had without a training under way."""
    if plan.test is not None:
        return ", and a test of profiles goes through its own"
    if phase == "finished":
        return "; `steptop run` with another --name trains it anew, with the profile you want"
    return f"; `{shlex.join(relaunched(plan.command, options.profile, options.settings))}` goes on in its folder so"


def relaunched(command: Sequence[str], profile: str | None, settings: Sequence[str]) -> list[str]:
    """The `command` of a launch with another profile or other knobs: detached, and to its end."""
    knobs = [f"{text.partition('=')[0]}=" for text in settings]
    kept: list[str] = []
    words = iter(command)
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--wait", "--open"):
            continue
        if option in VALUED:
            value = value if equals else next(words, "")
            gone = option == "--stop-after-run" or (option == "--profile" and profile is not None)
            if gone or (option == "--set" and value.startswith(tuple(knobs))):
                continue
            kept += [option, value]
        else:
            kept.append(word)
    kept += ["--profile", profile] if profile is not None else []
    return [*kept, *(word for text in settings for word in ("--set", text))]


def _answer(paths: ExperimentPaths, name: str) -> control.Answer | None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        answer = control.answer_to(paths, name)
        if answer is not None:
            return answer
        time.sleep(0.05)
    return None


def _taken(paths: ExperimentPaths, key: RunKey, name: str) -> ProfileChanged | None:
    deadline = time.monotonic() + TAKEN_SECONDS
    run = paths.run(*key.at)
    while time.monotonic() < deadline:
        for segment in run.segments()[-1:]:
            for record in read(segment):
                if isinstance(record, ProfileChanged) and record.id == name:
                    return record
        time.sleep(0.2)
    return None
