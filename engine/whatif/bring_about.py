"""What brings a decision about: the commands, each as words, one after the other.

In the folder of the training that is asked about wherever the same is trained: a folder keeps one configuration, and
goes on with runs that it has (engine.runs.joined). Anything else goes into a folder of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from engine.config.hashes import training_hash
from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.config.run_keys import RunKey, runs_of, variants_of
from engine.errors import UsageError
from engine.runs import launch
from engine.whatif.known import Known
from engine.whatif.option import Option
from engine.whatif.question import Question
from engine.whatif.remarks import below_minimum

Command: TypeAlias = tuple[str, ...]


def commands(
    known: Known, question: Question, option: Option, live: bool = False, here: bool = True
) -> tuple[Command, ...]:
    """None where nothing is left to be started, or it is under way already. `live`: that very training goes on;
    `here`: it is decided about the machine that it was measured on."""
    if not here:
        return (("steptop", "run", *_launch_words(known, question, option.keys)),)
    if known.asked or known.plan.test is not None or _another(known, question):
        return _anew(known, question, option.keys)
    return _living(known, question, option) if live else _again(known, question, option)


def typed(found: Iterable[Command]) -> str:
    """As they are typed, in one line."""
    return " && ".join(shlex.join(words) for words in found)


def _another(known: Known, question: Question) -> bool:
    """Whether results of what is asked for are none of the folder's."""
    plan = known.plan
    experiment = msgspec.structs.replace(plan.experiment, epochs=question.epochs or plan.experiment.epochs)
    profile = msgspec.structs.replace(plan.profile, knobs=plan.profile.knobs | _asked_knobs(question))
    return training_hash(experiment, profile) != training_hash(plan.experiment, plan.profile)


def _asked_knobs(question: Question) -> dict[str, Value]:
    steps = question.steps_per_epoch
    return question.knobs | ({"steps_per_epoch": steps} if steps is not None else {})


def _living(known: Known, question: Question, option: Option) -> tuple[Command, ...]:
    """In a training that goes on: what has begun is not taken out of its queue."""
    settings, found = _settings(known, question), list[Command]()
    if settings:
        found.append(("steptop", "change", known.name, *settings))
    begun = {key.at for key in known.finished} | set(known.done) | {key.at for key, _ in (known.left or ())[:1]}
    more = [key for key in option.keys if key not in known.plan.runs]
    fewer = [key for key in known.plan.runs if key not in option.keys and key.at not in begun]
    if option.stop_after_runs:
        found.append(("steptop", "stop", known.name, "--after-run"))
    elif more or fewer:
        found.append(("steptop", "queue", known.name, *_named("--add", more), *_named("--skip", fewer)))
    return tuple(found)


def _again(known: Known, question: Question, option: Option) -> tuple[Command, ...]:
    """In a training that was stopped, failed or is over: the runs that are left of it are taken out first where they
    are none of the option's, since a launch that names runs refuses to train others."""
    name, held, done = known.name, known.plan.runs, {key.at for key in known.finished}
    left = [key for key in held if key.at not in done]
    wanted = [key for key in option.keys if key.at not in done]
    if not wanted or (option.stop_after_runs and len(done) >= option.stop_after_runs):
        return ()
    stop = ("--stop-after-run", str(option.stop_after_runs)) if option.stop_after_runs else ()
    whole = bool(stop) and bool(left)
    goal = left if whole else wanted
    gone = [key for key in left if key not in goal]
    first: tuple[Command, ...] = (("steptop", "queue", name, *_named("--skip", gone)),) if gone else ()
    settings = _settings(known, question)
    if not settings and question.gpus < 2 and all(key in held for key in goal):
        return (*first, ("steptop", "resume", name, *stop))
    for runs in (goal, option.keys, held):
        if _is_whole(known.plan, runs) and set(goal) <= set(runs) <= {*held, *option.keys}:
            words = _launch_words(known, question, runs, name, option.stop_after_runs)
            return (*first, ("steptop", "run", *words, *stop))
    resume = ("steptop", "resume", name, *stop)
    return (*first, resume, ("steptop", "change", name, *settings)) if settings else (*first, resume)


def _anew(known: Known, question: Question, runs: Sequence[RunKey]) -> tuple[Command, ...]:
    """In a folder that is not there yet."""
    logs, stem = Path(known.folder).parent, Path(known.asked or known.plan.experiment_name).stem
    own = stem if known.asked or known.plan.test is not None else known.name
    name = stem
    if (logs / stem).exists():
        name = next(name for number in range(2, 1000) if not (logs / (name := f"{own}-{number}")).exists())
    words = _launch_words(known, question, runs, name if name != stem else "")
    beyond = [key for key in _whole(known.plan, runs) if key not in runs]
    launched: Command = ("steptop", "run", *words)
    return (launched, ("steptop", "queue", name, *_named("--skip", beyond))) if beyond else (launched,)


def _named(option: str, keys: Iterable[RunKey]) -> list[str]:
    """`--skip 0,1 --skip mkdc,1,0`."""
    each = (",".join(filter(None, (key.variant, str(key.fold), str(key.restart)))) for key in keys)
    return [word for one in each for word in (option, one)]


def _settings(known: Known, question: Question) -> list[str]:
    """What of the knobs the training would not have by itself."""
    held = known.plan.profile.knobs
    asked = {name: value for name, value in _asked_knobs(question).items() if value != held.get(name, value)}
    return [word for name, value in asked.items() for word in ("--set", f"{name}={shown(value)}")]


def _whole(plan: Plan, runs: Collection[RunKey]) -> tuple[RunKey, ...]:
    """The fewest runs with those among them that a launch can name: restarts are counted from the first one."""
    folds = tuple(dict.fromkeys(key.fold for key in runs))
    restarts = max((key.restart for key in runs), default=0) + 1
    return runs_of(plan.experiment, folds, restarts, _variants(runs))


def _is_whole(plan: Plan, runs: Collection[RunKey]) -> bool:
    return set(_whole(plan, runs)) == set(runs)


def _variants(runs: Iterable[RunKey]) -> tuple[str, ...] | None:
    names = variants_of(runs)
    return names if any(names) else None


def _launch_words(
    known: Known, question: Question, runs: Sequence[RunKey], name: str = "", at_most: int = 0
) -> list[str]:
    """Behind `steptop run`. `at_most`: so many of the runs are trained, 0: all of them."""
    plan = known.plan
    words = [known.asked or _experiment_word(plan.command, plan.experiment_name)]
    words += ["--name", name] if name else []
    if plan.data_dir:
        words += ["--data", plan.data_dir]
    own = _own(known, words[0])
    held = (own or plan).profile.knobs
    knobs = known.knobs | _asked_knobs(question)
    settings = {knob: value for knob, value in knobs.items() if value != held.get(knob, value)}
    for knob, value in settings.items():
        words += ["--set", f"{knob}={shown(value)}"]
    epochs = question.epochs or plan.experiment.epochs
    if any(knob in plan.experiment.locks for knob in settings) or below_minimum(plan.experiment, epochs):
        words.append("--override-locks")
    said = question.epochs is not None or "--epochs" in plan.command
    if said or (own is not None and own.experiment.epochs != epochs):
        words += ["--epochs", str(epochs)]
    named, usual = _whole(plan, runs), (own or plan).experiment
    folds, restarts = tuple(dict.fromkeys(key.fold for key in named)), len({key.restart for key in named})
    if folds != (usual.runs.only or tuple(range(usual.runs.folds))):
        words += ["--folds", ",".join(str(fold) for fold in folds)]
    if restarts != usual.runs.restarts:
        words += ["--restarts", str(restarts)]
    if variants_of(named) != variants_of(runs_of(usual)):
        words += ["--variants", ",".join(variants_of(named))]
    return words + _places(plan, question, at_most or len(runs))


def devices_for(plan: Plan, question: Question, runs: int) -> tuple[str, ...]:
    """The devices that so many runs are shared out to: as many as asked for, else those of the training that is known;
    nothing where one does."""
    if question.gpus > 1:
        count = min(question.gpus, runs)
        return tuple(str(number) for number in range(count)) if count > 1 else ()
    return plan.devices


def _places(plan: Plan, question: Question, runs: int) -> list[str]:
    """How many go on side by side, and on what."""
    devices = devices_for(plan, question, runs)
    words = ["--devices", ",".join(devices)] if devices else []
    if question.gpus < 2 and plan.slots > max(1, len(devices)):
        words += ["--slots", str(plan.slots)]
    return words


def _own(known: Known, experiment: str) -> Plan | None:
    """What a launch of the `experiment` with no other option would train; None where it cannot be told."""
    data = Path(known.plan.data_dir) if known.plan.data_dir else None
    try:
        return launch.plan_for(launch.Request(experiment=experiment, logs=Path(known.folder).parent, data=data))
    except UsageError:
        return None


def _experiment_word(words: Sequence[str], name: str) -> str:
    """A file of one's own is launched by its path again."""
    path = next((word for word in words if word.endswith(".toml") and Path(word).stem == name), "")
    return path or name
