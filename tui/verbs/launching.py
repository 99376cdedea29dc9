"""run, stop, resume: what starts and ends trainings from the command line."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.config.plan import Plan
from engine.config.run_keys import dimensions
from engine.config.unscored import switched_off
from engine.counts import plural
from engine.errors import UsageError
from engine.live.state import RunState
from engine.live.watch import Watch
from engine.machine import logout
from engine.paths import ExperimentPaths, read_json
from engine.runs import again, control, launch, verdict
from engine.runs.expected import prospects
from engine.runs.hints import for_experiment
from engine.runs.joined import otherwise
from engine.runs.placing import Finished, Running
from engine.runs.saved import saved
from tui import limit_options
from tui.verbs.common import find, request_from, say
from tui.verbs.following import follow
from tui.verbs.limiting import ask, foretold, foretold_again

ANSWER_SECONDS = 5.0


def run(options: argparse.Namespace) -> int:
    """Start an experiment; `--open` and `--wait` also join one that is running already."""
    request = request_from(options)
    joined, asked = False, time.time()
    try:
        plan = launch.plan_for(request)
        place = launch.place_of(request, plan)
        plan = place.plan
        if place.said:
            say(f"note: {place.said}")
        for line in again.remarks(request.experiment):
            say(f"note: {line}")
        for line in foretold(plan, lambda: prospects(request, place.left), place.done):
            say(line)
        _spared(plan, len(place.left.runs))
        folder = launch.start(request, plan)
    except Running as running:
        settings = _settings(request, running.folder)
        if not (options.open or options.wait):
            raise UsageError(f"{running}{settings}") from None
        folder, joined = running.folder, True
        say(f"{folder.name} is running already; following it{running.more}{settings}")
        if request.limits.any:
            say("note: its limits stay as they are; `steptop limit` changes them")
    except Finished as finished:
        if not (options.open or options.wait):
            raise
        folder, joined = finished.folder, True
        say(str(finished))
    if not joined:
        _introduce(plan)
    if options.open and sys.stdout.isatty() and sys.stdin.isatty():
        from tui.opening import show

        return show(options, folder)
    if options.open or options.wait:
        return follow(folder, since=asked)
    say("started, detached: closing this terminal changes nothing. `steptop` shows it, `steptop stop` ends it.")
    print(folder)
    return 0


def _spared(plan: Plan, left: int) -> None:
    """Say of a stop that is asked for here that the command for after the end is not run then."""
    if plan.on_finish is not None and not plan.on_finish.always and 0 < plan.stop_after_runs < left:
        after = plural(plan.stop_after_runs, "run")
        also = "--on-finish-always runs it then too"
        say(f"note: the --on-finish command is not run if it stops after {after} as asked; {also}")


def _settings(request: launch.Request, folder: Path) -> str:
    """How the knobs that are asked for get into the training under way there; '' if it has them."""
    held = read_json(ExperimentPaths(folder).plan, Plan)
    if held is None or not (request.profile or request.settings):
        return ""
    wanted = launch.plan_for(request, without_data=True).profile
    return otherwise(folder.name, held, wanted, wanted.knobs if request.profile else request.settings)


def _introduce(plan: Plan) -> None:
    several = f", {plan.slots} at a time" if plan.slots > 1 else ""
    say(
        f"{plan.name}: {plural(len(plan.runs), 'run')} ({dimensions(plan.runs)}) of "
        f"{plural(plan.experiment.epochs, 'epoch')}{several}, profile {plan.profile.said}"
    )
    if plan.profile.basis:
        say(f"profile {plan.profile.name}: {plan.profile.basis}")
    if killing := logout.warning():
        say(f"warning: {killing}")
    if off := switched_off(plan):
        say(f"warning: {off}")
    for knob, reason in plan.overridden.items():
        say(f"note: lock on {knob} overridden; it was: {reason}")


def stop(options: argparse.Namespace) -> int:
    """Leave the request, and wait a moment for its acknowledgement."""
    folder = find(options.logs, options.experiment)
    paths = ExperimentPaths(folder)
    state = Watch(folder).quick()
    if not state.supervisor_alive and not state.trainer_alive:
        raise UsageError(f"{folder.name} is not running (it is {state.phase}); there is nothing to stop")
    name = control.request(paths, options.how, by="the command line")
    if not state.supervisor_alive:
        launch.take_over(folder)
    onward, deadline = _onward(paths, state.run), time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        answer = control.answer_to(paths, name)
        if answer is not None:
            said = _sentence(options.how, answer.text, onward, state.run is None) if answer.accepted else answer.text
            told = for_experiment(said, folder.name)
            say(f"{folder.name}: {told}" if answer.accepted else f"refused: {told}")
            return 0 if answer.accepted else 1
        time.sleep(0.05)
    say(f"{folder.name}: asked for, not acknowledged yet; it happens as soon as its supervisor reads it")
    return 0


def _onward(paths: ExperimentPaths, run: RunState | None) -> str:
    """What resuming does after a kill now."""
    if run is None:
        return verdict.PREPARED
    return verdict.onward(saved(paths.run(*run.key.at)))


def _sentence(verb: str, text: str, onward: str, preparing: bool) -> str:
    if text != "acknowledged":
        return text
    if preparing and verb != "stop_cancel":
        return "ends before a run starts; what is prepared is kept"
    return {
        "stop_after_run": "stops after the present run; `steptop stop --cancel` takes it back",
        "stop_now": "finishes its step, writes a checkpoint and ends; `steptop resume` goes on from there",
        "stop_force": f"ended by force; `steptop resume` {onward}",
    }.get(verb, text)


def resume(options: argparse.Namespace) -> int:
    folder, asked = find(options.logs, options.experiment), time.time()
    typed = limit_options.wanted(options)
    if options.no_limit and typed.any:
        raise UsageError("--no-limit beside a limit: leave one of them out")
    if options.on_finish_always and options.on_finish is None:
        raise UsageError("--on-finish-always: name the command too, with --on-finish")
    if launch.take_over(folder):
        say(f"{folder.name}: its training was still running; a new supervisor has taken it over")
        if options.no_limit or typed.any:
            ask(folder, typed if typed.any else None)
    else:
        left = Watch(folder).poll()
        launch.resume(
            folder,
            options.stop_after_run,
            None if options.no_limit else typed,
            limit_options.command(options) if options.on_finish is not None else None,
            limit_options.addresses(options),
        )
        for line in foretold_again(folder, left, options.stop_after_run):
            say(line)
        if (plan := read_json(ExperimentPaths(folder).plan, Plan)) is not None:
            _spared(plan, len(left.runs) - left.runs_finished)
        say(f"{folder.name}: goes on, detached. `steptop` shows it.")
    if options.wait:
        return follow(folder, since=asked)
    print(folder)
    return 0
