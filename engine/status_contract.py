"""What `steptop status --json` holds, field by field; docs/status.md says what each means."""

from __future__ import annotations

import msgspec

from engine.journals.events import Gpu, Verdict
from engine.live.state import ExperimentPhase
from engine.visit_status import TestStatus
from engine.whatif.options import Decision


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`index` from 1; `step` within the epoch; `activity` names a span other than training. `step_seconds` and `ends`:
    while it is under way."""

    index: int
    total: int
    fold: int
    restart: int
    variant: str
    seed: int
    attempt: int
    state: str
    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    steps_done: int
    steps_total: int
    activity: str
    loss: float | None
    dice: float | None
    leading: LeadingStatus | None = None
    validation: FiguresStatus | None = None
    whole: FiguresStatus | None = None
    device: str = ""
    step_seconds: float | None = None
    ends: Moment | None = None


class LeadingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What held-out cases are judged by first, the newest test or validation of it, and whether `higher` or `lower` is
    better."""

    figure: str
    value: float | None
    better: str


class FiguresStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out figures by name. `epoch`: after which they were measured; `carried`: how many have ended since."""

    split: str
    epoch: int
    step: int
    carried: int
    values: dict[str, float]


class SoFarStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The leading figure over finished runs (`per` run) or, of each variant, over its folds (`per` fold).
    `one_more`: one more value would move the mean by that at most, 9 times in 10. `missing`: why that is not known yet.
    """

    variant: str
    figure: str
    per: str
    runs: int
    count: int
    mean: float | None
    std: float | None
    standard_error: float | None
    one_more: float | None
    missing: str


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Remaining seconds with a 90 % range, the wall clock of the end (s since 1970), and what it rests on."""

    seconds: float | None
    low: float | None
    high: float | None
    at: float | None
    basis: str


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds left of one thing: in all, how many `times`, seconds `each`, and how that is known."""

    name: str
    seconds: float
    times: float
    each: float
    basis: str
    kind: str


class RungStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One rung from step to experiment. `runs`: trainings that end within it."""

    rung: str
    label: str
    runs: int
    seconds: float | None
    low: float | None
    high: float | None
    at: float | None
    basis: str
    kind: str | None
    parts: tuple[PartStatus, ...]


class ChangeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A change of pace: `ratio` of seconds per step after and before it. `since`, `noticed`: s since 1970."""

    step: int
    since: float
    noticed: float
    ratio: float
    cause: str


class CreepStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Steps that take longer and longer: since which, by what share so far, and seconds more with every step."""

    step: int
    since: float
    grown: float
    seconds_per_step: float


class ForecastStatus(msgspec.Struct, frozen=True, kw_only=True):
    epoch: Moment
    run: Moment
    stop_here: Moment
    experiment: Moment
    warming: bool
    text: str
    ladder: tuple[RungStatus, ...]
    changes: tuple[ChangeStatus, ...]
    creep: CreepStatus | None
    intervals: str


class StopStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`after_runs`: how many runs end before it, the one under way counted; None for the other modes."""

    mode: str
    phase: str
    since: float
    at: float | None
    after_runs: int | None = None


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The limit that comes first, and how many of `runs_total` runs will be done in time: as expected, surely, at best.
    `also`: later limits. Money is in `currency`, `hourly` of all devices."""

    kind: str
    text: str
    at: float
    seconds: float
    quoted: str
    runs_fit: int | None = None
    runs_surely: int | None = None
    runs_at_best: int | None = None
    runs_total: int | None = None
    late_seconds: float | None = None
    sentence: str = ""
    budget: float | None = None
    spent: float | None = None
    currency: str | None = None
    hourly: float | None = None
    price_basis: str = ""
    also: tuple[str, ...] = ()


class MachineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes; `cpu` in cores; None where there is no reading. Not `current`: it is how the machine was at `at`."""

    cores: int | None = None
    cpu: float | None = None
    own_cpu: float | None = None
    ram_total: int | None = None
    ram_available: int | None = None
    shm_total: int | None = None
    shm_used: int | None = None
    disk_total: int | None = None
    disk_free: int | None = None
    workers: int | None = None
    worker_bytes: float | None = None
    bytes_per_hour: float | None = None
    full_in_seconds: float | None = None
    bytes_at_most: float | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_reason: str = ""
    at: float | None = None
    current: bool = False


class BottleneckStatus(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    headline: str
    advice: str


class SpikeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Every `every`-th step, from the run's first one on, takes `seconds` more than the others' `usual`: it computes
    those terms of the loss."""

    every: int
    terms: tuple[str, ...]
    seconds: float
    usual: float


class Status(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    experiment: str
    folder: str
    state: ExperimentPhase
    profile: str
    device: str
    run: RunStatus | None
    beside: tuple[RunStatus, ...]
    runs_finished: int
    step_seconds: float | None
    samples_per_second: float | None
    voxels_per_second: float | None
    spans: dict[str, float]
    load_seconds: float | None
    bottleneck: BottleneckStatus
    forecast: ForecastStatus
    stop: StopStatus | None
    limit: LimitStatus | None
    machine: MachineStatus
    precision: str | None
    checkpoint: str | None
    stalled_seconds: float
    supervisor_alive: bool
    trainer_alive: bool
    survivors: tuple[int, ...]
    disk_full: bool
    verdict: Verdict | None
    decision: Decision | None = None
    test: TestStatus | None = None
    tokens_per_second: float | None = None
    data: str = ""
    so_far: tuple[SoFarStatus, ...] = ()
    not_started: tuple[str, ...] = ()
    spikes: tuple[SpikeStatus, ...] = ()
