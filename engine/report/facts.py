"""Everything a report is written from, read once: the state, what follows from it, and the files beside it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import msgspec

from engine.config.knob import Value as KnobValue
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.diagnosis.advice import Advice, advice
from engine.diagnosis.bottleneck import Bottleneck, bottleneck
from engine.diagnosis.modelled import workload_of
from engine.diagnosis.queueing import Workload
from engine.errors import UsageError
from engine.eta.forecast import Forecast, forecast
from engine.journals.events import Gap, RunEnded, Sample, Steps
from engine.journals.journal import read
from engine.limit.afterwards import refused
from engine.limit.allowance import Allowance, allowance
from engine.live.fold_experiment import fold_supervisor
from engine.live.mean_step import lately
from engine.live.state import ExperimentState, RunState, new_experiment
from engine.live.trend import Trend
from engine.memory.footprint import knobs_now, trend_of
from engine.paths import NAME, ExperimentPaths, read_json
from engine.phase import phases, tuning
from engine.phase.phases import PhaseResult
from engine.phase.tested import of_all_runs
from engine.report import journals
from engine.report.elsewhere import Elsewhere, elsewhere
from engine.report.journals import RunFiles
from engine.text import clean

TESTS = ("bench", "phases", "tune")
MOST_TESTS = 8


class TestFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A test of this experiment's profiles, in a folder beside it. `other`: why its figures say nothing about this
    training, '' if they do. `ranking`: the tuner's, best first."""

    __test__ = False  # pytest takes what is called Test for tests

    name: str
    kind: str
    plan: Plan
    found: tuple[PhaseResult, ...] = ()
    ranking: tuple[str, ...] = ()
    best: dict[str, KnobValue] | None = None
    text: str = ""
    over: bool = False
    other: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`files`: of each run, in the plan's order. `readings`: of the machine, from the training's beginning on, thinned.
    `refused`: why a plain resume would not go on, '' where it does. `called`: the experiment in a command, its name or
    its folder; `where`: ` --logs DIR` behind it, or nothing."""

    state: ExperimentState
    forecast: Forecast
    limit: Bottleneck
    advice: Advice
    trend: Trend
    knobs: dict[str, KnobValue]
    workload: Workload | None
    workload_basis: str
    manifest: dict[str, Any]
    results: dict[str, Any] | None
    files: tuple[RunFiles, ...]
    attempts: tuple[RunEnded, ...]
    gaps: tuple[tuple[str, Gap], ...]
    readings: tuple[Sample, ...]
    tests: tuple[TestFolder, ...]
    living: tuple[PhaseResult, ...]
    lately: tuple[Steps, ...]
    elsewhere: Elsewhere
    allowed: Allowance | None
    refused: str = ""
    called: str = ""
    where: str = ""

    @property
    def plan(self) -> Plan:
        return self.state.plan

    @property
    def run(self) -> RunState | None:
        return self.state.run

    @property
    def paths(self) -> ExperimentPaths:
        return ExperimentPaths(Path(self.state.folder))

    @property
    def sample(self) -> Sample | None:
        return self.state.samples[-1] if self.state.samples else None

    @property
    def own_trainer(self) -> bool:
        return bool(self.plan.experiment.command)

    @property
    def over(self) -> bool:
        return self.state.phase in ("finished", "stopped", "failed", "lost")

    def attempts_of(self, run: RunState) -> tuple[RunEnded, ...]:
        return tuple(one for one in self.attempts if one.at == run.key.at)


def gather(state: ExperimentState, logs: Path | None = None) -> Facts:
    """`state` as a Watch or Replay gives it; `logs`: as the user named it, to be repeated in commands."""
    paths = ExperimentPaths(Path(state.folder))
    called, where = in_commands(paths.folder, logs)
    files = tuple(
        journals.of_run(paths.run(*run.key.at)) if run.phase != "waiting" else RunFiles()
        for run in state.runs
    )
    attempts, unwritten = journals.ended(paths.events)
    gaps = [(paths.events.name, gap) for gap in unwritten]
    gaps += [(one.segments[-1], gap) for one in files for gap in one.gaps]
    advised, (workload, basis) = advice(state), workload_of(state)
    return Facts(
        state=state,
        forecast=forecast(state),
        limit=bottleneck(state, advised),
        advice=advised,
        trend=trend_of(state),
        knobs=knobs_now(state),
        workload=workload,
        workload_basis=basis,
        manifest=read_json(paths.manifest, dict[str, Any]) or {},
        results=read_json(paths.results, dict[str, Any]),
        files=files,
        attempts=tuple(one for one in attempts if one.t <= state.now),
        gaps=tuple(gaps),
        readings=journals.readings(paths.machine, state.now),
        tests=tests_beside(paths.folder, state.plan),
        living=_own(state),
        lately=tuple(lately(state.run)) if state.run is not None and state.run.recent else (),
        elsewhere=elsewhere(state),
        allowed=allowance(state),
        refused=refused(state),
        called=called,
        where=where,
    )


def in_commands(folder: Path, logs: Path | None) -> tuple[str, str]:
    """How a command names an experiment, and the option that finds it, quoted for a shell."""
    if logs is not None and (logs / folder.name).resolve() != folder.resolve():
        return _quoted(folder), f" --logs {_quoted(folder.parent)}"
    other = logs is not None and str(logs) != "logs"
    return _quoted(Path(folder.name)), f" --logs {_quoted(logs)}" if logs is not None and other else ""


def _quoted(path: Path) -> str:
    return clean(shlex.quote(str(path)))


def _own(state: ExperimentState) -> tuple[PhaseResult, ...]:
    """Phases of the experiment itself: a test's, or the profiles that a living training went through."""
    if state.plan.test is not None:
        return phases.results(state.plan, state.prepared, state.visits)
    return of_all_runs(state)


def tests_beside(folder: Path, plan: Plan) -> tuple[TestFolder, ...]:
    """Tests of the same experiment in the same logs folder, by name."""
    if plan.test is not None:
        return ()
    bases = {plan.name, plan.experiment_name}
    pattern = re.compile(rf"^(.+)-(?:{'|'.join(TESTS)})(?:-\d+)?$")
    found = []
    for path in sorted(folder.parent.glob("*/")):
        named = pattern.match(path.name)
        if named and named[1] in bases and NAME.match(path.name) and (one := _test(path, plan)) is not None:
            found.append(one)
    return tuple(found[:MOST_TESTS])


def _test(folder: Path, own: Plan) -> TestFolder | None:
    paths = ExperimentPaths(folder)
    plan, prepared = read_json(paths.plan, Plan), read_json(paths.data, Prepared)
    if plan is None or plan.test is None:
        return None
    state = fold_supervisor(new_experiment(str(folder), plan), read(paths.events))
    try:
        found = phases.results(plan, prepared, state.visits)
        ranking = tuple(tuning.ranking(paths, plan))
    except (UsageError, ValueError):
        return None
    return TestFolder(
        name=folder.name,
        kind=plan.test.kind,
        plan=plan,
        found=found,
        ranking=ranking,
        best=state.ended.knobs if state.ended is not None else None,
        text=state.ended.text if state.ended is not None else "",
        over=state.ended is not None,
        other=unlike(own, plan),
    )


def unlike(a: Plan, b: Plan) -> str:
    """Why a test's figures say nothing about a training; '' if they train the same on the same."""
    for field, words in (("model", "model"), ("prepare", "prepared volumes"), ("loss", "loss"), ("command", "trainer")):
        if getattr(a.experiment, field) != getattr(b.experiment, field):
            return f"it trains with another {words}"
    return f"it ran on device {b.device}, this on {a.device}" if a.device != b.device else ""
