"""The mean step of late: what it took, span by span, and what loading its samples took."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

from engine.journals.events import SPANS, Steps
from engine.live.state import RunState

FEWEST_STEPS = 5
COMPUTE = ("forward", "loss", "backward", "optimizer")


class MeanStep(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds per step; `spans` holds `other` for what no span covers. `load`: one sample inside a worker, with its
    coefficient of variation and the share of it that is computing, None where the trainer does not say."""

    steps: int
    seconds: float
    spans: dict[str, float]
    samples: float
    load: float | None = None
    load_cv: float | None = None
    load_computing: float | None = None

    @property
    def whole(self) -> float:
        """Of which shares are taken: on a GPU, waiting and computing overlap and may add up to more than a step."""
        return max(self.seconds, sum(self.spans.values()))

    @property
    def compute(self) -> float:
        return sum(self.spans[name] for name in COMPUTE)


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


def mean_step(records: Sequence[Steps]) -> MeanStep:
    """Over all steps of `records`."""
    count = sum(record.steps for record in records)
    steps = max(1, count)  # a foreign trainer may write a record of no steps
    seconds = sum(record.seconds for record in records) / steps
    spans = {name: sum(getattr(record.spans, name) for record in records) / steps for name in SPANS}
    spans["other"] = max(0.0, seconds - sum(spans.values()))
    loads = sum(record.loads for record in records)
    load = sum(record.load_seconds for record in records) / loads if loads else None
    squares = sum(record.load_squares for record in records) / loads if loads else 0.0
    cpu = sum(record.load_cpu for record in records) / loads if loads else 0.0
    return MeanStep(
        steps=count,
        seconds=seconds,
        spans=spans,
        samples=sum(record.samples for record in records) / steps,
        load=load,
        load_cv=sqrt(max(0.0, squares - load**2)) / load if load and squares else None,
        load_computing=min(1.0, cpu / load) if load and cpu else None,
    )
