"""What the journals add up to, as frozen data: runs, the experiment, and the sentences about them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.config.experiment import of_variant
from engine.config.leading import measure
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.run_keys import RunKey
from engine.eta.earlier import Earlier
from engine.journals.clocks import merged
from engine.journals.events import (
    Begin,
    CheckpointWritten,
    ExperimentEnded,
    Level,
    LimitReached,
    LimitSet,
    Memory,
    Metrics,
    PhaseBegun,
    PhaseEnded,
    PrecisionActive,
    ProfileChanged,
    Progress,
    Sample,
    Steps,
    Stop,
    Verdict,
)
from engine.live.conditions import Anew, Former
from engine.live.segments import Pace
from engine.live.spike_lines import Rare, rare

RECENT = 64
TESTED = 256
PROFILES = 16
SENTENCES = 200
SAMPLES = 600

RunPhase: TypeAlias = Literal["waiting", "running", "finished", "stopped", "failed", "lost"]
# Phases in which nothing more comes of it by itself.
ENDED = ("finished", "stopped", "failed", "lost")
ExperimentPhase: TypeAlias = Literal[
    "preparing", "queued", "running", "stopping", "stopped", "finished", "failed", "lost"
]


class Sentence(msgspec.Struct, frozen=True):
    """One line of the list of events; `text` may hold untrusted words. `m`: monotonic clock since `boot`, which orders
    sentences although the wall clock `t` was set."""

    t: float
    text: str
    level: Level = "info"
    m: float = 0.0
    boot: str = ""


class Part(msgspec.Struct, frozen=True):
    """A span beside the steps: how often, how long in all, the last time, and how many items in all."""

    count: int = 0
    seconds: float = 0.0
    last: float = 0.0
    items: int = 0

    @property
    def mean(self) -> float:
        return self.seconds / self.count if self.count else 0.0


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that a living training runs or ran with since the step after `step`, and what it wrote meanwhile.

    `lines`: at most TESTED of them, the newest of the profile before a change, the first ones of one after it.
    """

    name: str
    knobs: dict[str, bool | int | float | str]
    changed: tuple[str, ...] = ()
    step: int = 0
    t: float = 0.0
    seconds: float = 0.0
    lines: tuple[Steps, ...] = ()


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """One training so far. `step` counts over the whole run; `activity` is the span under way, '' while stepping.

    `taken`: the newest profile it was asked for and answered, taken up or not. `causes`: why the pace changed, by the
    first step of the new one. `elapsed`: seconds of all its attempts that have ended, as the supervisor counted them.
    `failures`: how often it has failed since the present supervisor started. `given_up`: it is not started any more, as
    others of its variant have failed.
    """

    key: RunKey
    phase: RunPhase = "waiting"
    attempt: int = 0
    slot: int = 0
    begin: Begin | None = None
    step: int = 0
    epoch: int = 0
    epoch_seconds: float = 0.0
    epoch_ended: float | None = None
    activity: str = ""
    activity_done: int = 0
    activity_total: int = 0
    activity_since: float = 0.0
    activity_monotonic: float = 0.0
    pace: Pace = Pace()
    recent: tuple[Steps, ...] = ()
    tested: tuple[Tested, ...] = ()
    anew: Anew = Anew()
    formers: tuple[Former, ...] = ()
    taken: ProfileChanged | None = None
    parts: dict[str, Part] = {}
    loss: float | None = None
    lr: float | None = None
    losses: dict[str, float] = {}
    term_sums: dict[str, tuple[float, int]] = {}
    rare: Rare = Rare()
    validation: Metrics | None = None
    whole: Metrics | None = None
    test: Metrics | None = None
    curves: dict[str, tuple[tuple[int, float], ...]] = {}
    precision: PrecisionActive | None = None
    memory: Memory | None = None
    checkpoint: CheckpointWritten | None = None
    started: float = 0.0
    started_monotonic: float = 0.0
    ended: float = 0.0
    ended_monotonic: float = 0.0
    last_monotonic: float = 0.0
    elapsed: float = 0.0
    failures: int = 0
    given_up: bool = False
    verdict: Verdict | None = None
    survivors: tuple[int, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    causes: dict[int, str] = {}

    def busy_seconds(self, now_monotonic: float) -> float:
        """How long the span under way has taken; a suspended machine's sleep is no part of it."""
        return max(0.0, now_monotonic - self.activity_monotonic) if self.activity else 0.0

    @property
    def epochs(self) -> int:
        return self.begin.epochs if self.begin else 0

    @property
    def steps_per_epoch(self) -> int:
        return self.begin.steps_per_epoch if self.begin else 0

    @property
    def steps_total(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def step_in_epoch(self) -> int:
        """Steps done in the present epoch, 0 to steps_per_epoch."""
        if not self.steps_per_epoch or not self.step:
            return 0
        return (self.step - 1) % self.steps_per_epoch + 1


class StopState(msgspec.Struct, frozen=True, kw_only=True):
    """A stop that was asked for. requested: a file lies there; acknowledged: the supervisor has taken it up."""

    id: str
    mode: Stop
    phase: Literal["requested", "acknowledged", "done"]
    since: float = 0.0


class ExperimentState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a screen or a status line says, but for the forecast (a function of this).

    `survivors`: pids of an ended or lost experiment's tree that live on. `earlier`: what earlier experiments tell.
    `boot_id`: the supervisor's; `processor` and `cores`: what it may use of its machine.
    """

    folder: str
    plan: Plan
    prepared: Prepared | None = None
    phase: ExperimentPhase = "queued"
    runs: tuple[RunState, ...] = ()
    current: int | None = None
    preparing: Progress | None = None
    prepare_seconds: float | None = None
    stop: StopState | None = None
    stop_after_runs: int = 0
    runs_ended_here: int = 0
    supervisor_alive: bool = False
    trainer_alive: bool = False
    disk_full: bool = False
    stalled_seconds: float = 0.0
    survivors: tuple[int, ...] = ()
    samples: tuple[Sample, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    visits: tuple[PhaseBegun | PhaseEnded, ...] = ()
    verdict: Verdict | None = None
    limit: LimitSet | None = None
    reached: LimitReached | None = None
    ended: ExperimentEnded | None = None
    gaps: tuple[float, ...] = ()
    earlier: Earlier = Earlier()
    processor: str = ""
    cores: int = 0
    boot_id: str = ""
    damaged: int = 0
    partial: bool = False
    now: float = 0.0
    now_monotonic: float = 0.0

    @property
    def run(self) -> RunState | None:
        """The run that is shown: the one under way, of several the one begun last; or the last one that was."""
        return self.runs[self.current] if self.current is not None else None

    @property
    def under_way(self) -> tuple[int, ...]:
        """Places of the runs that go on, side by side where the experiment has slots."""
        return tuple(place for place, run in enumerate(self.runs) if run.phase == "running")

    @property
    def cases(self) -> str:
        """What it learns from, as its task calls it: volumes, sequences."""
        return f"{measure(self.plan.experiment).sample}s"

    @property
    def runs_finished(self) -> int:
        return sum(run.phase == "finished" for run in self.runs)


def new_run(key: RunKey) -> RunState:
    return RunState(key=key)


def new_experiment(folder: str, plan: Plan) -> ExperimentState:
    names = {key.variant for key in plan.runs if not key.variant or key.variant in plan.experiment.variants}
    kept = {name: rare(of_variant(plan.experiment, name).loss.terms) for name in names}
    runs = tuple(msgspec.structs.replace(new_run(key), rare=kept.get(key.variant, Rare())) for key in plan.runs)
    return ExperimentState(folder=folder, plan=plan, runs=runs, stop_after_runs=plan.stop_after_runs)


def all_sentences(state: ExperimentState) -> list[Sentence]:
    """The experiment's and its present run's sentences in the order they happened."""
    said = state.run.sentences if state.run else ()
    if state.plan.test is not None:  # its pace changes all the time, by intention
        said = tuple(sentence for sentence in said if sentence.level == "bad")
    return merged(state.sentences, said)
