"""The report of an experiment: its sections in the order a tired reader wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.live.state import ExperimentState
from engine.report.facts import Facts, gather
from engine.report.model import Report, Section
from engine.report.sections import (
    checklist,
    configuration,
    hardware,
    limits,
    machine,
    memory,
    onward,
    options,
    phases,
    plots,
    profiles,
    results,
    risks,
    runtime,
    sessions,
    status,
    step,
)
from engine.text import clean

SECTIONS: tuple[Callable[[Facts], Section], ...] = (
    status.section,
    machine.section,
    configuration.section,
    step.section,
    runtime.section,
    limits.section,
    plots.section,
    phases.section,
    profiles.section,
    risks.section,
    memory.section,
    hardware.section,
    options.section,
    sessions.section,
    results.section,
    checklist.section,
    onward.section,
)


def report_of(state: ExperimentState, logs: Path | None = None) -> Report:
    """`state` as a Watch or Replay gives it, and what lies beside it; `logs` as the user named the logs folder."""
    return written(gather(state, logs))


def written(facts: Facts) -> Report:
    """The same facts give the same report."""
    plan = facts.plan
    return Report(
        experiment=clean(plan.name),
        title=clean(plan.experiment.title),
        written=facts.state.now,
        sections=tuple(made for section in SECTIONS if (made := section(facts)).blocks),
    )
