"""How it is set, and which settings measurements speak against."""

from __future__ import annotations

from engine.config.experiment import Experiment
from engine.config.knob import Value as KnobValue, shown
from engine.config.profile import KNOBS
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.marks import marks
from engine.report.model import Block, Name, Pieces, Row, Section, Table, paragraph, row, say
from engine.text import clean


def section(facts: Facts) -> Section:
    name = Name(clean(facts.plan.profile.name))
    blocks: list[Block] = [paragraph("Profile ", name, "; a mark is given for a measured reason only.")]
    if facts.plan.profile.basis:
        told = numbers.sentence(facts.plan.profile.basis, sources.planned(facts))
        blocks.append(paragraph("Where its values come from: ", told))
    blocks.append(Table(id="knobs", columns=("knob", "value", "mark", "why"), rows=_knobs(facts)))
    blocks.append(Table(id="experiment", columns=("experiment", "", ""), rows=tuple(_experiment(facts))))
    return Section("configuration", "Configuration", tuple(blocks))


def _knobs(facts: Facts) -> tuple[Row, ...]:
    """Those that measurements speak against first."""
    judged, rows = marks(facts), []
    names = [name for name in facts.knobs if facts.knobs[name] != KNOBS[name].default or name in judged]
    used = names if facts.own_trainer else list(facts.knobs)
    of = {name: mark.severity for name, mark in judged.items()}
    grave = [name for word in ("critical", "warning") for name in used if of.get(name) == word]
    for name in (*grave, *(name for name in used if name not in grave)):
        mark = judged.get(name)
        severity = mark.severity if mark is not None else ""
        reason = mark.reason if mark is not None else ()
        rows.append(row(Name(name), _value(facts, name, facts.knobs[name]), severity, reason, severity=severity))
    return tuple(rows)


def _value(facts: Facts, name: str, value: KnobValue) -> Pieces:
    run, plan = facts.run, sources.planned(facts)
    changed = run.tested if run is not None else ()
    if run is not None and changed and value != changed[0].knobs.get(name, value):
        taken = sources.journal(facts, run, "its profile records")
        before, at = numbers.sentence(shown(changed[0].knobs[name]), taken), numbers.count(changed[-1].step, taken)
        now = numbers.sentence(shown(value), taken)
        return say(now, " (", before, " before; changed while it trained, after step ", at, ")")
    pieces = say(numbers.sentence(shown(value), plan))
    if name in facts.plan.profile.scaled:
        pieces += say(" (", Name(clean(facts.plan.profile.scaled[name])), ")")
    return pieces


def _experiment(facts: Facts) -> list[Row]:
    plan, experiment, run = facts.plan, facts.plan.experiment, facts.run
    basis = sources.planned(facts)
    runs = say(
        numbers.count(len(plan.runs), basis),
        " (",
        *((numbers.count(len(plan.experiment.variants), basis), " variants, ") if plan.experiment.variants else ()),
        numbers.count(len({key.fold for key in plan.runs}), basis),
        " folds, ",
        numbers.count(len({key.restart for key in plan.runs}), basis),
        " restarts)",
    )
    rows = [row("trains", Name(clean(experiment.title or plan.experiment_name)), "")]
    if experiment.command:
        rows.append(row("with a trainer of its own", Name(clean(" ".join(experiment.command))), ""))
    rows += [
        row("runs", runs, ""),
        row("epochs of a run", numbers.count(experiment.epochs, basis), _said_epochs(facts)),
    ]
    if not experiment.command:
        what, sample, model = _learnt(experiment)
        optimizer = f"{experiment.optimizer.name}, lr {experiment.optimizer.lr:g}"
        rows += [
            row(what, numbers.sentence(sample, basis), ""),
            row("model", numbers.sentence(model, basis), ""),
            row("loss", Name(clean(", ".join(experiment.loss.terms) or experiment.loss.name)), ""),
            row("optimizer", numbers.sentence(optimizer, basis), ""),
        ]
    if run is not None and run.begin is not None and run.begin.parameters:
        rows.append(row("parameters", numbers.count(run.begin.parameters, sources.journal(facts, run)), ""))
    rows += _data(facts)
    return rows


def _learnt(experiment: Experiment) -> tuple[str, str, str]:
    """What samples are called, one of them, and the network."""
    model = experiment.model
    if experiment.task == "peptides":
        network = f"{model.name}, {model.channels} wide, {model.layers} layers, {model.heads} heads"
        return "sequences", "4 to 20 residues each", f"{network}, {model.diffusion_steps} steps of diffusion"
    sample = f"{' × '.join(map(str, experiment.sample_shape))} voxels of {experiment.prepare.spacing_mm:g} mm"
    called = "volumes" if experiment.patch.whole else "patches"
    return called, sample, f"{model.name}, {model.channels} channels, {model.classes} classes"


def _said_epochs(facts: Facts) -> Pieces:
    """Where the trainer says another number than the plan."""
    run = facts.run
    if run is None or run.begin is None or run.begin.epochs == facts.plan.experiment.epochs:
        return ()
    return say("the trainer says ", numbers.count(run.begin.epochs, sources.journal(facts, run)))


def _data(facts: Facts) -> list[Row]:
    prepared = facts.state.prepared
    if prepared is None:
        return []
    basis = sources.data(facts)
    word = "subjects" if facts.plan.experiment.task == "segmentation" else "parts, each with figures of its own"
    rows = [row(word, numbers.count(len(prepared.subjects), basis), "")]
    for split in prepared.splits:
        held = numbers.count(len(split.test), basis)
        fold = say("fold ", numbers.count(split.fold, basis))
        said = say(numbers.count(len(split.train), basis), " to learn from, ", held, " held out")
        if facts.plan.experiment.task == "peptides":
            said = say(numbers.count(split.draws, basis), " sequences to learn from, ", held, " parts held out")
        rows.append(row(fold, said, _steps(facts, split.fold)))
    for warning in prepared.warnings:
        rows.append(row("said while preparing", numbers.sentence(warning, basis), "", severity="warning"))
    return rows


def _steps(facts: Facts, fold: int) -> Pieces:
    run = next((one for one in facts.state.runs if one.key.fold == fold and one.begin is not None), None)
    if run is None or run.begin is None:
        return ()
    return say(numbers.count(run.begin.steps_per_epoch, sources.journal(facts, run)), " steps an epoch")
