"""How far the machine may move the end: what a processor computes is as quick as its neighbours, its clock and the host
of a virtual machine let it be."""

from __future__ import annotations

from math import hypot, sqrt

from engine.journals.events import Sample
from engine.live.state import ExperimentState, RunState

# Readings of so many seconds; a machine this full, with others on it, is crowded.
LOOK_SECONDS = 1200.0
FULL, OTHERS = 0.85, 0.1
# What others leave varies by about this part of what they take, and stays alike for about so long: trainings beside
# test suites and benchmarks on two cores.
VARIES, LASTS_SECONDS = 0.5, 300.0
# What a processor's pace wanders by without anybody else on it (its clock, the host of a virtual machine), and for how
# long it stays alike. Seven trainings of six to eight minutes by themselves on two virtual cores: 5 to 9 % between
# means over 10 s, 2 to 6 % between those over 40 s; one of them 14 and 12 %, for minutes on end. With these figures
# their ranges held 86 % of the time, those of 13 trainings of 45 to 180 s 94 % (tests/benchmarks/forecast.py
# --recorded). What a run has shown over so many stretches weighs as much as that.
WANDERS, LASTING_SECONDS = 0.10, 30.0
STRETCH_SECONDS, BELIEVED = 10.0, 4.0


def crowding(state: ExperimentState, run: RunState | None, left_seconds: float) -> float:
    """Relative standard deviation of what anything costs over the next `left_seconds`, for the sake of other processes
    and of the processor itself.

    It falls with how long has been seen and how long is to come: in the long run others come and go as they have. On a
    GPU only the wait for data counts; others count where no core is idle.
    """
    if run is None or not state.samples:
        return 0.0
    newest = state.samples[-1].m
    lately = [sample for sample in state.samples if newest - LOOK_SECONDS <= sample.m <= newest]
    others = VARIES * _taken(lately) * sqrt(_unlike(run.pace.seconds, left_seconds, LASTS_SECONDS))
    own = _wanders(run) * sqrt(_unlike(run.pace.seconds, left_seconds, LASTING_SECONDS))
    return _bound(run) * hypot(others, own)


def _unlike(seen: float, left: float, lasts: float) -> float:
    """What is left of a variance over what was seen and what is to come, where it is alike for so long at a time."""
    return lasts / (lasts + seen) + lasts / (lasts + max(0.0, left))


def _wanders(run: RunState) -> float:
    """Relative standard deviation of the pace over stretches of a run; what is usual until it has shown its own."""
    paces, seconds, steps = [], 0.0, 0
    for bucket in run.pace.buckets:
        if bucket.last - bucket.steps < run.pace.begun_at + run.pace.warm_steps:
            continue
        seconds, steps = seconds + bucket.seconds, steps + bucket.steps
        if seconds >= STRETCH_SECONDS:
            paces.append(seconds / steps)
            seconds, steps = 0.0, 0
    mean = sum(paces) / len(paces) if paces else 1.0
    seen = sum((pace / mean - 1) ** 2 for pace in paces)
    return sqrt((BELIEVED * WANDERS**2 + seen) / (BELIEVED + max(0, len(paces) - 1)))


def _taken(samples: list[Sample]) -> float:
    """The part of the used cores that others take, root mean square: a neighbour that comes and goes counts too. While
    cores are idle it is none."""
    shares = [
        (sample.cpu - sample.own_cpu) / sample.cpu
        for sample in samples
        if sample.own_cpu and sample.cpu >= FULL * sample.cores and sample.cpu - sample.own_cpu >= OTHERS * sample.cores
    ]
    looked = sum(1 for sample in samples if sample.own_cpu)
    return sqrt(sum(share * share for share in shares) / looked) if shares else 0.0


def _bound(run: RunState) -> float:
    """The part of a step that cores decide on: all of it on a CPU, on a GPU the wait for data."""
    if run.begin is None or not run.begin.device.startswith("cuda"):
        return 1.0
    seconds = sum(record.seconds for record in run.recent)
    return min(1.0, sum(record.spans.data for record in run.recent) / seconds) if seconds else 0.0
