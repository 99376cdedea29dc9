"""How far a neighbour may move the end: on a full machine a training is as slow as others leave it cores."""

from __future__ import annotations

from math import sqrt

from engine.journals.events import Sample
from engine.live.state import ExperimentState, RunState

# Readings of so many seconds; a machine this full, with others on it, is crowded.
LOOK_SECONDS = 1200.0
FULL, OTHERS = 0.85, 0.1
# What others leave varies by about this part of what they take, and stays alike for about so long: trainings beside
# test suites and benchmarks on two cores.
VARIES, LASTS_SECONDS = 0.5, 300.0


def crowding(state: ExperimentState, run: RunState | None, left_seconds: float) -> float:
    """Relative standard deviation of what anything costs over the next `left_seconds`, for the sake of other processes.

    0 on a machine with cores to spare. It falls with how long has been seen and how long is to come: in the long run
    others come and go as they have.
    """
    if run is None or not state.samples:
        return 0.0
    newest = state.samples[-1].m
    share = _taken([sample for sample in state.samples if newest - LOOK_SECONDS <= sample.m <= newest])
    seen = run.pace.seconds
    alike = LASTS_SECONDS / (LASTS_SECONDS + seen) + LASTS_SECONDS / (LASTS_SECONDS + max(0.0, left_seconds))
    return VARIES * share * _bound(run) * sqrt(alike)


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
