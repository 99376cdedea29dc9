"""estimate: what a training would take if something about it were different, or on other hardware."""

from __future__ import annotations

import argparse
import re
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from engine.config import profile
from engine.errors import UsageError
from engine.machine import cores
from engine.runs.choice import choose
from engine.runs.launch import Request
from engine.whatif import estimate, hardware, hardware_table, options as choices, session_limits, wish
from engine.whatif.estimate import Subject
from engine.whatif.estimate_json import document
from engine.whatif.hardware import Gpu
from engine.whatif.hardware_table import HardwareRow
from engine.whatif.known import Known
from engine.whatif.question import bounded
from engine.whatif.remarks import remarks
from engine.whatif.scaling import Quoted
from engine.whatif.what_if import Question, checked
from tui import estimate_table
from tui.estimating import between
from tui.verbs.common import find, say

Asked: TypeAlias = Callable[[Question], HardwareRow]

STATED = re.compile(r"^(.+)=(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?x?@(\d+)$")


def estimated(options: argparse.Namespace) -> int:
    """The table, the options, what is wished; with --decide, records the option and prints its command."""
    if options.stages is not None:
        from tui.verbs.staging import staged

        return staged(options)
    wishes = tuple(wish.parse(text) for text in options.wish)
    if options.decide is not None and not 0 < options.decide <= choices.MOST:
        raise UsageError(f"--decide {options.decide}: there are options 1 to {choices.MOST} at most")
    sheet = hardware.gpus(options.hardware)
    known_sessions = session_limits.sessions(options.hardware)
    subject = _subject(options, sheet)
    known, question = subject.known, checked(subject.known, _question(options, subject))
    stated = tuple(_stated(text, sheet) for text in options.speedup)
    _check_stated(stated, known.gpu, tuple(hardware.named(name, sheet) for name in options.gpu))
    wanted = tuple(hardware.named(name, sheet) for name in options.gpu) or sheet
    sessions = tuple(session_limits.chosen(name, known_sessions) for name in options.session) or known_sessions
    if options.decide is not None:
        choices.choose(choices.offered(known, question), options.decide)
    memory = estimate.step_memory(known)

    def asked(of: Gpu | None) -> Asked:
        return lambda q: hardware_table.row(known, q, of, sessions, stated, subject.others, memory)

    rows = hardware_table.table(known, question, wanted, sessions, stated, subject.others, memory)
    # Options are of the GPU that was asked for, where it is one.
    on = next((row for row in rows if len(options.gpu) == 1 and row.name == wanted[0].name), rows[0])
    found = choices.options(known, question, asked(on.gpu))
    # A wish is of every GPU that was asked for; without one of the machine that was measured.
    places = [row for row in rows if any(row.name == gpu.name for gpu in wanted)] if options.gpu else rows[:1]
    wished = [_wished(known, question, wanted, row, asked) for wanted in wishes for row in places]
    notes = (*_notes(options.gpu, on, sheet), *_unused(stated, rows), *remarks(known, question, rows[0].times))
    folder = Path(known.folder)
    decision = choices.recorded(folder)
    if options.decide is not None:
        option = choices.choose(found, options.decide)
        live = subject.live and on.here
        decision = choices.decide(known, question, on.name, option, "the command line", time.time(), live, on.here)
        path = choices.record(folder, decision)
    if options.json:
        content = document(known, question, rows, found, wished, notes, decision)
        print(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
        return 0
    if options.decide is not None and decision is not None:
        say(f"decided: {option.title}, {between(option.timeline)} on {on.name}; recorded in {path}")
        for words in (decision.command, *decision.then) if decision.command else ():
            print(shlex.join(words))
        if not decision.command:
            done = f"it is done: nothing to start, `steptop results {known.name}` shows it"
            print("it goes on as it is: nothing to start" if live else done)
        return 0
    for line in estimate_table.report(known, question, rows, found, wished, notes, on.name):
        say(line)
    if decision is not None:
        say(f"decided: {decision.title}, on {decision.hardware}")
    return 0


def _wished(
    known: Known, question: Question, wanted: wish.Wish, row: HardwareRow, asked: Callable[[Gpu | None], Asked]
) -> wish.Granted:
    """Nothing but how it can be known, of a GPU that no time is claimed of."""
    name = "" if row.here else row.name
    if row.known:
        return wish.granted(known, question, wanted, lambda other: asked(row.gpu)(other).times, name)
    found = wish.granted(known, question, wanted, lambda _: row.times, name)
    if row.here or row.too_small:
        return found
    said, batch = row.why.removeprefix("no claim: "), (known.knobs | question.knobs)["batch_size"]
    stated = f"or state its speed-up over this machine: --speedup '{row.name}=LOW-HIGH@{batch}'"
    return msgspec.structs.replace(found, text=f"nothing is known about it: {said}, {stated}")


def _subject(options: argparse.Namespace, sheet: tuple[Gpu, ...]) -> Subject:
    """A folder of the logs by its name, else an experiment that would be launched."""
    name = options.experiment
    bounded(Question(epochs=options.epochs, restarts=options.restarts, steps_per_epoch=options.steps_per_epoch))
    launching = options.data is not None or options.profile is not None
    if name is not None and estimate.is_experiment(name) and (launching or not _is_folder(options.logs, name)):
        request = Request(
            experiment=name, logs=options.logs, data=options.data, profile=options.profile,
            epochs=options.epochs, restarts=options.restarts, folds=_folds(options.folds),
            settings=profile.parse_settings(options.settings, cores.machine()), override_locks=True,
        )  # fmt: skip
        return estimate.of_request(request, sheet)
    if options.data is not None:
        raise UsageError("--data is of an experiment to be launched: name one of `steptop experiments`")
    subject = estimate.of_folder(find(options.logs, name), sheet)
    return subject if options.profile is None else _with_profile(subject, options.profile)


def _with_profile(subject: Subject, name: str) -> Subject:
    """The training that there is, with the knobs of another profile."""
    known = subject.known
    made, _ = choose(known.plan.experiment, name, {}, Path(known.folder).parent, known.plan.device)
    knobs = {knob: value for knob, value in made.knobs.items() if value != known.knobs.get(knob, value)}
    return msgspec.structs.replace(subject, question=msgspec.structs.replace(subject.question, knobs=knobs))


def _is_folder(logs: Path, name: str) -> bool:
    return any((folder / "plan.json").is_file() for folder in (logs / name, Path(name)))


def _question(options: argparse.Namespace, subject: Subject) -> Question:
    """What the options say, over what the experiment to be launched differs in."""
    base = subject.question
    return Question(
        epochs=options.epochs or base.epochs,
        steps_per_epoch=options.steps_per_epoch or base.steps_per_epoch,
        folds=_folds(options.folds) or base.folds,
        restarts=options.restarts or base.restarts,
        variants=base.variants,
        knobs=base.knobs | profile.parse_settings(options.settings, cores.machine()),
        gpus=options.gpus,
        cores=options.cores,
        rest=options.rest,
    )


def _folds(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--folds {text!r}: write fold numbers with commas, as 0,2") from None


def _stated(text: str, sheet: tuple[Gpu, ...]) -> Quoted:
    match = STATED.match(text.strip())
    if match is None:
        raise UsageError(f"--speedup {text!r}: write it as H200=40-60@128: GPU, range, batch size it is of")
    low, high = float(match[2]), float(match[3] or match[2])
    if not 0 < low <= high:
        raise UsageError(f"--speedup {text!r}: two numbers above 0, the smaller one first")
    return Quoted(gpu=hardware.exactly(match[1], "--speedup", sheet).name, low=low, high=high, batch=int(match[4]))


def _check_stated(stated: tuple[Quoted, ...], here: Gpu | None, wanted: tuple[Gpu, ...]) -> None:
    """Raises UsageError for a speed-up that would change nothing."""
    for one in stated:
        if here is not None and one.gpu == here.name:
            raise UsageError(f"--speedup {one.gpu}: it was measured on that GPU, and needs no speed-up over itself")
        if wanted and all(one.gpu != gpu.name for gpu in wanted):
            names = ", ".join(gpu.name for gpu in wanted)
            raise UsageError(f"--speedup {one.gpu}: --gpu asks for {names} alone; add --gpu {one.gpu!r}")


def _unused(stated: tuple[Quoted, ...], rows: Sequence[HardwareRow]) -> list[str]:
    """Speed-ups that were stated of a GPU on which the same was measured."""
    measured = {row.name for row in rows if row.measured}
    return [f"--speedup {one.gpu} is not used: the same was measured on it" for one in stated if one.gpu in measured]


def _notes(names: list[str], on: HardwareRow, sheet: tuple[Gpu, ...]) -> list[str]:
    """Which GPU a short name was taken for, and why there is nothing to decide."""
    said = [hardware.taken_as(name, hardware.named(name, sheet), sheet) for name in names]
    if on.too_small:
        said.append(f"no options on {on.name}: {hardware_table.TOO_SMALL}: {on.memory_text}")
    return [text for text in said if text]
