"""What to type next."""

from __future__ import annotations

import shlex

from engine.config.knob import shown
from engine.config.profile import KNOBS
from engine.limit.afterwards import resume_options
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Basis, Command, Commands, Missing, Section, say
from engine.text import clean


def section(facts: Facts) -> Section:
    return Section("onward", "Next steps", (Commands(tuple(commands(facts))),))


def commands(facts: Facts) -> list[Command]:
    """The most useful one first."""
    name, where, state = facts.called, facts.where, facts.state
    found: list[Command] = []
    if state.phase == "finished" and facts.plan.test is None:
        found.append(Command(f"steptop results {name}{where}", say("held-out figures of every finished run")))
    if state.phase in ("stopped", "failed", "lost"):
        found.append(_resume(facts))
    if not facts.over and facts.plan.test is None:
        found += _change(facts, name)
    if facts.plan.test is None and not facts.own_trainer:
        found += _tests(facts)
    if facts.own_trainer and facts.run is not None and not facts.lately:
        found.append(Command(f"steptop logs {name}{where}", say("what its trainer printed")))
    if not facts.over:
        if facts.plan.test is None:
            stop = f"steptop stop --after-run {name}{where}"
            found.append(Command(stop, say("train this run to its end, start no other")))
        found.append(Command(f"steptop open {name}{where}", say("the dashboard")))
    if facts.plan.test is not None:
        found.append(Command(f"steptop compare {name}{where}", say("its phases beside each other")))
    elif state.runs_finished and state.phase != "finished":
        found.append(Command(f"steptop results {name}{where}", say("held-out figures of every finished run")))
    if state.phase == "failed":
        found.append(Command(f"steptop logs {name}{where}", say("what the trainer printed before it failed")))
    return found


def _resume(facts: Facts) -> Command:
    """With what it takes where a limit is used up: a plain one would be refused."""
    options = resume_options(facts.state, facts.refused)
    line = f"steptop resume {facts.called}{options}{facts.where}"
    if not options:
        return Command(line, say("go on from the last checkpoint"))
    limit = Basis("set", f"set: {facts.paths.events.name}, its newest limit record")
    why = numbers.sentence(facts.refused, limit)
    other = "or another --until, --deadline or --budget"
    return Command(line, say("go on from the last checkpoint; ", why, f": {other}, without which it is refused"))


def _change(facts: Facts, name: str) -> list[Command]:
    """The next best change, where a living training can take it up."""
    change = facts.limit.change
    if change is None or change.refused or change.lock or not KNOBS[change.knob].live:
        return []
    model = sources.modelled(facts.advice.basis)
    expected = numbers.expected(change.low, change.high, model)
    more = () if isinstance(expected, Missing) else (": ", expected, " a step expected")
    line = f"steptop change {name} --set {change.knob}={shown(change.after)}{facts.where}"
    return [Command(line, say("the next change, between two steps", *more))]


def _tests(facts: Facts) -> list[Command]:
    asked = clean(shlex.quote(facts.plan.experiment_name))
    asked += f" --data {clean(shlex.quote(facts.plan.data_dir))}" if facts.plan.data_dir else ""
    asked += facts.where
    kinds = {test.kind for test in facts.tests if not test.other and any(one.measured for one in test.found)}
    found = []
    if "bench" not in kinds and facts.run is None:
        found.append(Command(f"steptop bench {asked}", say("how fast it is, before committing to it")))
    if "phases" not in kinds:
        found.append(Command(f"steptop phases {asked}", say("every profile in short tests, in turns")))
    elif "tune" not in kinds:
        found.append(Command(f"steptop tune {asked}", say("look for the fastest within memory")))
    return found
