"""bench, phases, compare: short tests of profiles, and what they showed."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from engine.phase import phases, plans, tested, trials, tuning
from engine.phase.phase_json import document
from engine.phase.phases import PhaseResult
from engine.visit_status import results_of
from tui import phase_table
from tui.verbs.common import find, request_from, say
from tui.verbs.following import follow

RANKED = 12


def bench(options: argparse.Namespace) -> int:
    """One profile: its pace, what computing alone takes, what loading alone takes."""
    request = request_from(options)
    plan = trials.plan_for(request, "bench", steps=options.steps)
    return _test(options, plan)


def run_phases(options: argparse.Namespace) -> int:
    """A plan's profiles one after the other."""
    request = request_from(options)
    if options.plan is not None:
        title, wanted = plans.named(options.plan)
    else:
        title, wanted = "", plans.of_profiles(request.profile or trials.first_profile(request))
    plan = trials.plan_for(request, "phases", wanted, steps=options.steps, gate=not options.no_gate)
    if title and not options.json:
        say(title)
    return _test(options, plan)


def tune(options: argparse.Namespace) -> int:
    """Look for the fastest profile within the limits; the answer is kept for profile `auto`."""
    request = request_from(options)
    try:
        sizes = tuple(int(word) for word in options.batch_sizes.split(",")) if options.batch_sizes else ()
    except ValueError:
        raise UsageError(f"--batch-sizes {options.batch_sizes!r}: write whole numbers with commas, as 1,2,4") from None
    return _test(options, trials.plan_for(request, "tune", batch_sizes=sizes))


def _test(options: argparse.Namespace, plan: Plan) -> int:
    folder = trials.start(request_from(options), plan)
    if options.detach:
        say("started, detached: `steptop` shows it, `steptop compare` says what came of it")
        print(folder)
        return 0
    if not options.json:
        assert plan.test is not None
        for number, phase in enumerate(plan.test.phases, 1):
            why = f": {phase.why}" if phase.why else ""
            say(f"phase {number}, {phase.name}{why}")
    code = follow(folder, quiet=options.json)
    state = Watch(folder).poll()
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(_document(state)), indent=2).decode())
    else:
        say()
        for line in phase_table.report(_found(state), state.plan, _best(state)):
            say(line)
        for line in _ranked(state):
            say(line)
        print(folder)
    return code


def compare(options: argparse.Namespace) -> int:
    """Phases and trainings beside each other, the first one as the measure."""
    found: list[PhaseResult] = []
    first: ExperimentState | None = None
    several = len(options.experiments) > 1
    for word in options.experiments or [None]:
        name, _, wanted = (word or "").partition(":")
        state = Watch(find(options.logs, name or None)).poll()
        first = first or state
        comparable(first.plan, state.plan)
        here = [one for one in _found(state) if wanted in ("", one.name, str(one.number + 1))]
        if not here:
            called, names = Path(state.folder).name, ", ".join(one.name for one in _found(state))
            if names:
                raise UsageError(f"{called} has no phase {wanted!r}; it measured {names}")
            raise UsageError(f"{called} has measured nothing yet: no step has ended")
        found += [_called(one, Path(state.folder).name) if several else one for one in here]
    assert first is not None
    found = phases.against_first(found) if several else found
    if options.json:
        content = document(
            Path(first.folder).name, first.phase, "compare", found, "", None if several else _best(first)
        )
        print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
        return 0
    for line in phase_table.report(found, first.plan, None if several else _best(first)):
        say(line)
    for line in [] if several else _ranked(first):
        say(line)
    return 0


def _called(one: PhaseResult, folder: str) -> PhaseResult:
    return msgspec.structs.replace(one, name=f"{folder}:{one.name}")


def comparable(a: Plan, b: Plan) -> None:
    """Raises UsageError if two experiments train different things: their ratio would say nothing of profiles."""
    for field, words in (("model", "models"), ("prepare", "prepared volumes"), ("loss", "losses")):
        if getattr(a.experiment, field) != getattr(b.experiment, field):
            raise UsageError(
                f"{a.name} and {b.name} train different {words}: a ratio of their speeds says nothing about profiles"
            )
    if a.device != b.device:
        raise UsageError(f"{a.name} ran on {a.device} and {b.name} on {b.device}: compare profiles on one device")


def _found(state: ExperimentState) -> tuple[PhaseResult, ...]:
    if state.plan.test is not None:
        prepared = state.prepared or read_json(ExperimentPaths(Path(state.folder)).data, Prepared)
        return results_of(state, prepared)
    from tui.comparison import present

    return tested.of_all_runs(state) or present(state)


def _document(state: ExperimentState) -> object:
    kind = state.plan.test.kind if state.plan.test is not None else "run"
    text = state.ended.text if state.ended is not None else ""
    return document(Path(state.folder).name, state.phase, kind, _found(state), text, _best(state))


def _ranked(state: ExperimentState) -> list[str]:
    """Why the tuner answered as it did, and its ranking; nothing for another test."""
    found = tuning.read_answer(ExperimentPaths(Path(state.folder)))
    if found is None:
        return []
    return ["", found.why, *(f"  {line}" for line in tuning.ranking_table(found, state.plan, RANKED))]


def _best(state: ExperimentState) -> dict[str, Value] | None:
    return state.ended.knobs if state.ended is not None else None
