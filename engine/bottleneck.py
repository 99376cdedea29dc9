"""Where a step goes, what limits it, and what more loader processes would do.

A loader of w processes and its consumer are a queue: a step takes max(computing, samples × load time / w), with w no
more than there are cores, and computing + loading when there are none. Against real loaders that was 3–9 % off
(mean), 20 % at worst, so a prediction is a range.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal, TypeAlias

import msgspec

from engine.events import SPANS, Steps
from engine.state import ExperimentState, RunState
from engine.trend import memory_trend

FEWEST_STEPS = 5
# A kind is the limit when it takes at least this share of a step.
LIMITS = {"data": 0.5, "h2d": 0.4, "other": 0.4, "compute": 0.7}
KINDS = {"data": "loader", "h2d": "copy", "other": "host", "compute": "compute"}
COMPUTE = ("forward", "loss", "backward", "optimizer")
# Waiting for data less than this is keeping up.
KEEPS_UP = 0.1
# The trainer takes a batch from a worker in about 2 ms, which nothing overlaps.
HANDING_OVER = 0.002
QUICKER, SLOWER = 0.95, 1.15

Kind: TypeAlias = Literal["loader", "compute", "host", "copy", "balanced", "unknown"]


class Share(msgspec.Struct, frozen=True):
    """One part of the mean step: a span, or `other` for what no span covers. `share` is 0 to 1."""

    name: str
    seconds: float
    share: float


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """What limits a step. `load_seconds`: to load one sample, measured inside the workers."""

    kind: Kind = "unknown"
    headline: str = "no steps yet"
    advice: str = ""
    step_seconds: float | None = None
    samples_per_second: float | None = None
    voxels_per_second: float | None = None
    shares: tuple[Share, ...] = ()
    load_seconds: float | None = None


class _Step(msgspec.Struct, frozen=True):
    """The mean step of late."""

    seconds: float
    spans: dict[str, float]
    samples: float
    load: float | None

    @property
    def whole(self) -> float:
        """Of which shares are taken: on a GPU, waiting and computing overlap and may add up to more than a step."""
        return max(self.seconds, sum(self.spans.values()))

    @property
    def computing(self) -> float:
        return max(0.0, self.seconds - self.spans["data"])


def bottleneck(state: ExperimentState) -> Bottleneck:
    """From the present run's last records, a multiple of `num_workers` steps (bursts have that period)."""
    run = state.run
    if run is None or run.begin is None or not run.recent:
        return Bottleneck(headline=_waiting(state, run))
    records = lately(run)
    step = _mean(records)
    if step.seconds <= 0:
        return Bottleneck(headline="the journal gives steps no time")
    shares = tuple(
        Share(name, seconds, seconds / step.whole)
        for name, seconds in step.spans.items()
        if name != "other" or seconds > 0
    )
    rate = step.samples / step.seconds
    known = Bottleneck(
        step_seconds=step.seconds,
        samples_per_second=rate or None,
        voxels_per_second=rate * run.begin.voxels_per_sample or None,
        shares=shares,
        load_seconds=step.load,
    )
    steps = sum(record.steps for record in records)
    new = msgspec.structs.replace
    if run.pace.warming or steps < FEWEST_STEPS:
        many = f"{run.pace.steps:,} step{'s' if run.pace.steps != 1 else ''}"
        return new(known, headline=f"warming: {many} so far; what limits it is not known yet")
    if not any(seconds for name, seconds in step.spans.items() if name != "other"):
        return new(known, headline="the trainer does not say where a step goes")
    kind = _kind(step)
    return new(known, kind=kind, headline=_headline(kind, step, run), advice=_advice(kind, step, state, run))


def lately(run: RunState) -> Sequence[Steps]:
    """The newest records of the present pace whose steps are a whole multiple of num_workers, as many as there are."""
    first = run.pace.segments[-1].first if run.pace.segments else 0
    recent = [record for record in run.recent if record.step - record.steps + 1 >= first] or list(run.recent)
    period = max(1, run.begin.num_workers if run.begin is not None else 1)
    steps, best = 0, 0
    for index in range(len(recent) - 1, -1, -1):
        steps += recent[index].steps
        if steps % period == 0 and steps >= FEWEST_STEPS:
            best = len(recent) - index
    return recent[-best:] if best else recent


def _mean(records: Sequence[Steps]) -> _Step:
    steps = max(1, sum(record.steps for record in records))  # a foreign trainer may write a record of no steps
    seconds = sum(record.seconds for record in records) / steps
    spans = {name: sum(getattr(record.spans, name) for record in records) / steps for name in SPANS}
    spans["other"] = max(0.0, seconds - sum(spans.values()))
    loads = sum(record.loads for record in records)
    load = sum(record.load_seconds for record in records) / loads if loads else None
    return _Step(seconds, spans, sum(record.samples for record in records) / steps, load)


def _kind(step: _Step) -> Kind:
    parts = {name: step.spans[name] for name in ("data", "h2d", "other")}
    parts["compute"] = sum(step.spans[name] for name in COMPUTE)
    for name, least in LIMITS.items():
        if parts[name] >= least * step.whole:
            return KINDS[name]  # type: ignore[return-value]
    return "balanced"


# ---------------------------------------------------------------- in words


def _waiting(state: ExperimentState, run: RunState | None) -> str:
    if state.phase == "preparing":
        return "volumes are being prepared"
    return "starting" if run is not None and run.phase == "running" else "no steps yet"


def _headline(kind: Kind, step: _Step, run: RunState) -> str:
    machine = _device(run)
    data = step.spans["data"]
    if kind == "loader":
        if run.begin is not None and run.begin.num_workers == 0:
            return f"Loading is the limit: it takes {_of(data, step.seconds)} in the trainer itself."
        who = "the trainer" if machine == "CPU" else "the GPU"
        return f"The loader is the limit: {who} waits {_of(data, step.seconds)}."
    if kind == "compute":
        return f"The {machine} is the limit: it waits {_of(data, step.seconds)} for data."
    if kind == "copy":
        return f"Copying to the {machine} is the limit: {_of(step.spans['h2d'], step.seconds)}."
    if kind == "host":
        return f"The trainer's own code is the limit: {_of(step.spans['other'], step.seconds)} is in no span."
    compute = sum(step.spans[name] for name in COMPUTE)
    return f"No single limit: data {100 * data / step.whole:.0f} %, computing {100 * compute / step.whole:.0f} %."


def _advice(kind: Kind, step: _Step, state: ExperimentState, run: RunState) -> str:
    if kind == "copy":
        pinned = state.plan.profile["pin_memory"]
        return "" if pinned else "pin_memory = true makes copies to the GPU faster."
    if kind == "host":
        return "More workers will not help: the time is neither loading nor computing."
    if kind == "compute" and step.spans["data"] < KEEPS_UP * step.seconds:
        return "More workers will not help: the loader already keeps up."
    return _more_workers(step, state, run)


def _more_workers(step: _Step, state: ExperimentState, run: RunState) -> str:
    """What two and four times the workers would do, as far as there are cores; the fewest that do nearly all of it."""
    now = run.begin.num_workers if run.begin is not None else 0
    cores = state.samples[-1].cores if state.samples else None
    on_cpu = _device(run) == "CPU"
    most = min(4 * max(1, now), cores if cores is not None else 4 * max(1, now))
    if most <= now:
        return "More workers will not help: there are no more cores than workers."
    tried = {
        workers: predicted(step.seconds, step.computing, step.samples, step.load, now, workers, cores, on_cpu)
        for workers in sorted({min(2 * max(1, now), most), most})
        if workers > now
    }
    best = min(sum(seconds) for seconds in tried.values())
    workers, (low, high) = next(item for item in tried.items() if sum(item[1]) <= 1.05 * best)
    if low > 0.95 * step.seconds:
        return f"More workers will hardly help: {'the CPU computes and loads' if on_cpu else 'the rest is computing'}."
    said = f"num_workers {now}→{workers}: {_range(low, high)} expected"
    memory = memory_trend(state.samples).per_worker_bytes if state.samples else None
    if memory:
        said += f", {memory * workers / 2**30:.2g} GiB"
        available = state.samples[-1].ram_available
        if available and memory * (workers - now) > 0.9 * available:
            said += f" (only {available / 2**30:.2g} GiB are free)"
    lock = state.plan.experiment.locks.get("num_workers")
    return f"{said}." + (f" Locked: {lock.reason}" if lock is not None else "")


def predicted(
    seconds: float,
    computing: float,
    samples: float,
    load: float | None,
    now: int,
    workers: int,
    cores: int | None = None,
    on_cpu: bool = False,
) -> tuple[float, float]:
    """Seconds per step with `workers` instead of `now`, as a range, from the step measured now.

    The queue model, scaled by how far it is off at present; never slower than now. On a CPU the loading takes cores
    from the computing. `load` None: the workers are taken to be busy all the time.
    """
    samples = samples or 1.0
    each = load if load else (seconds - computing) / samples if now == 0 else seconds * now / samples
    there = _queue(computing, samples * each, workers, cores, on_cpu)
    here = _queue(computing, samples * each, now, cores, on_cpu)
    off = seconds / here if here else 1.0
    low, high = there * min(1.0, off) * QUICKER, there * max(1.0, off) * SLOWER
    return min(low, seconds), min(high, seconds)


def _queue(computing: float, loading: float, workers: int, cores: int | None, on_cpu: bool) -> float:
    if workers == 0:
        return computing + loading
    useful = min(workers, cores or inf)
    shared = computing + loading / cores if on_cpu and cores else 0.0
    return max(computing + HANDING_OVER, loading / useful, shared)


def _device(run: RunState) -> str:
    return "CPU" if run.begin is None or run.begin.device == "cpu" else "GPU"


def _of(part: float, whole: float) -> str:
    """`15.2 of 18.1 s`: both in the unit of the whole."""
    if whole >= 1:
        return f"{part:.1f} of {whole:.1f} s"
    digits = 0 if whole >= 0.02 else 1
    return f"{part * 1000:.{digits}f} of {whole * 1000:.{digits}f} ms"


def _range(low: float, high: float) -> str:
    if high >= 1:
        return f"{low:.1f}–{high:.1f} s/step"
    return f"{low * 1000:.3g}–{high * 1000:.3g} ms/step"
