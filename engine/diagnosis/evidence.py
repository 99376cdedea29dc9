"""What shows where a step's time goes, beside its spans: workers, the machine, validation, and tests that were made."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.counts import plural
from engine.eta.validation import mismatches
from engine.live.mean_step import MeanStep
from engine.live.state import ExperimentState, RunState
from engine.phase import phases

# Samples that compute less than this share of their loading wait for something: a disk, a network.
CPU_SHARE = 0.4
READING = 1e6
RECENT_SAMPLES = 15
# Others take this share of the cores, and there is nothing left.
CROWDING, FULL = 0.2, 0.85
# Workers busy less than this are not what a step waits for.
IDLE_WORKERS = 0.6


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """`lines` in plain words. `validating`: share of the time so far in validation and reconstruction. `busy`: share of
    their time that workers load. `gpu_util`: percent. `reading`: the disk is being read. `foreign`: cores that other
    processes use; `crowded`: so many that they are missing here. `contradiction`: why the
    spans alone may mislead."""

    lines: tuple[str, ...] = ()
    validating: float = 0.0
    busy: float | None = None
    gpu_util: float | None = None
    reading: bool = False
    foreign: float = 0.0
    crowded: bool = False
    contradiction: str = ""


def evidence(state: ExperimentState, run: RunState, step: MeanStep) -> Evidence:
    """Of the present run, whose mean step of late is `step`."""
    workers = run.begin.num_workers if run.begin is not None else 0
    busy = None
    if workers and step.load is not None and step.seconds > 0:
        busy = min(1.0, step.load * step.samples / step.seconds / workers)
    recent = state.samples[-RECENT_SAMPLES:]
    utils = [gpu.util for sample in recent for gpu in sample.gpus if gpu.own_memory and gpu.util is not None]
    reads = [sample.disk_read for sample in recent if sample.disk_read is not None]
    foreign = [max(0.0, sample.cpu - sample.own_cpu) for sample in recent if sample.own_cpu]
    others = sum(foreign) / len(foreign) if foreign else 0.0
    cores = recent[-1].cores if recent else 0
    full = sum(sample.cpu for sample in recent) / len(recent) if recent else 0.0
    beside = sum(part.seconds for name, part in run.parts.items() if name in ("validate", "reconstruct"))
    trained = run.pace.seconds
    found = Evidence(
        validating=beside / (beside + trained) if beside and trained else 0.0,
        busy=busy,
        gpu_util=sum(utils) / len(utils) if utils else None,
        reading=bool(reads) and sum(reads) / len(reads) >= READING,
        foreign=others,
        crowded=bool(cores) and others >= CROWDING * cores and full >= FULL * cores,
        contradiction=_contradiction(step, busy),
    )
    read = sum(reads) / len(reads) if reads else 0.0
    return msgspec.structs.replace(found, lines=tuple(_lines(state, step, workers, found, read)))


def _contradiction(step: MeanStep, busy: float | None) -> str:
    """Waiting for data while workers idle: something between them and the trainer, or a machine with too few cores."""
    if busy is None or step.spans["data"] < 0.5 * step.seconds or busy >= IDLE_WORKERS:
        return ""
    return f"it waits for data although its workers load only {100 * busy:.0f} % of the time"


def _lines(state: ExperimentState, step: MeanStep, workers: int, found: Evidence, read: float) -> Iterator[str]:
    yield f"waiting for data: {100 * (step.spans['data'] / step.seconds):.0f} % of a step"
    if step.load is not None:
        busy = f" busy {100 * found.busy:.0f} %" if found.busy is not None else ""
        who = f"; {plural(workers, 'worker')}{busy}" if busy else ""
        yield f"a sample takes {_seconds(step.load)} to load{who}"
    if step.load_cv is not None:
        yield f"loading times vary by {100 * step.load_cv:.0f} %"
    if step.load_computing is not None:
        waits = "the rest waits for the disk" if found.reading else "the rest waits"
        more = f", {waits} ({read / 1e6:.0f} MB/s read)" if step.load_computing < CPU_SHARE else ""
        yield f"of loading, {100 * step.load_computing:.0f} % is computing{more}"
    if found.gpu_util is not None:
        yield f"the GPU is busy {found.gpu_util:.0f} % (NVML)"
    if found.crowded:
        yield f"other processes use {found.foreign:.1f} of {state.samples[-1].cores} cores"
    if found.validating:
        yield f"validation and reconstruction: {100 * found.validating:.0f} % of the time"
    if state.run is not None:
        yield from mismatches(state, state.run)
    if found.contradiction:
        yield f"{found.contradiction}; `steptop bench` tells loading and computing apart"
    if state.plan.test is not None:
        for one in phases.results(state.plan, None, state.visits):
            if one.mode != "train" and one.measured is not None:
                yield f"{one.name}: {_seconds(one.measured.step_seconds)} a step"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
