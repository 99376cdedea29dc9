"""Where the time goes, told by a device that works through its queue in its own time (a stand-in for CUDA events)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from engine.journals.events import Memory, Progress, Record, SpanEnded, Steps
from engine.training.clock import HostClock, Numbers
from engine.training.losses import Parts
from engine.training.recorder import ALL_STEPS, PENDING, TIMED_SHARE, NaNGradients, NaNLoss, Recorder
from engine.training.samples import Batch


class Host:
    """The host's time, in seconds; it only passes when told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class QueueDevice:
    """A device with a queue. `work(s)` is launched at once and takes s of device time after what is queued before it;
    marks and copies stand in that queue. `waits` counts how often the host was made to wait."""

    asynchronous = True

    def __init__(self, host: Host) -> None:
        self.host = host
        self.busy_until = 0.0
        self.waits = 0
        self.marks = 0
        self.in_use = 0

    def work(self, seconds: float) -> None:
        self.busy_until = max(self.busy_until, self.host.time) + seconds

    def mark(self) -> list[float]:
        self.marks += 1
        self.in_use += 1
        return [max(self.busy_until, self.host.time)]

    def passed(self, mark: list[float]) -> bool:
        return mark[0] <= self.host.time

    def arrived(self, kept: tuple[float, Numbers]) -> bool:
        return kept[0] <= self.host.time

    def seconds(self, begin: list[float], end: list[float]) -> float:
        assert self.passed(end), "asked for a time that is not known yet"
        return end[0] - begin[0]

    def release(self, marks: Iterable[list[float]]) -> None:
        for mark in marks:
            self.in_use -= 1
            mark[0] = float("nan")

    def keep(self, loss: Parts | None, norm: Tensor | None) -> tuple[float, Numbers]:
        terms = {} if loss is None else {name: float(value) for name, value in loss.terms.items()}
        total = None if loss is None else float(loss.total)
        return max(self.busy_until, self.host.time), (total, terms, None if norm is None else float(norm))

    def numbers(self, kept: tuple[float, Numbers]) -> Numbers:
        assert kept[0] <= self.host.time, "read a loss that has not arrived yet"
        return kept[1]

    def wait(self) -> None:
        self.waits += 1
        self.host.time = max(self.host.time, self.busy_until)


class Bench:
    """A recorder over a queue device, and what it wrote."""

    def __init__(self, line_seconds: float = 0.25, memory: Memory | None = None, timed_share: float = ALL_STEPS) -> None:
        self.written: list[Record] = []
        self.host = Host()
        self.device = QueueDevice(self.host)
        self.recorder = Recorder(
            self.written.append, self.device, lambda: memory, self.host, line_seconds, timed_share
        )

    def step(
        self, number: int, data: float = 0.0, forward: float = 0.0, backward: float = 0.0, loss: float = 0.5,
        norm: float | None = None,
    ) -> None:
        recorder, lap = self.recorder, self.recorder.lap
        recorder.fetch(self.coming(data))
        self.device.work(forward)
        lap("forward")
        self.device.work(backward)
        lap("backward")
        lap("optimizer")
        gradients = None if norm is None else torch.tensor(norm)
        recorder.step_ended(number, 1, 0.1, Parts(torch.tensor(loss), {}), gradients)

    def coming(self, seconds: float) -> Iterator[Batch]:
        """A batch of one that has to be waited for."""
        self.host.time += seconds
        yield Batch(torch.zeros(1), torch.zeros(1), [0], seconds)

    def steps(self) -> list[Steps]:
        return [record for record in self.written if isinstance(record, Steps)]


def test_device_time_is_told_when_the_device_has_got_there() -> None:
    bench = Bench(line_seconds=0.0)
    bench.step(1, data=0.1, forward=1.0, backward=2.0)
    assert bench.steps() == []
    bench.host.time += 3.0
    bench.step(2, data=0.1, forward=1.0, backward=2.0)
    (line,) = bench.steps()
    assert line.step == 1
    assert line.loss == pytest.approx(0.5)
    assert line.spans.forward == pytest.approx(1.0)
    assert line.spans.backward == pytest.approx(2.0)
    assert line.spans.data == pytest.approx(0.1)
    assert bench.device.waits == 0


def test_the_host_never_waits_within_an_epoch() -> None:
    bench = Bench()
    for number in range(1, 200):
        bench.step(number, data=0.01, forward=0.05, backward=0.1)
    assert bench.device.waits == 0


def test_a_host_that_runs_far_ahead_is_held_back_and_loses_nothing() -> None:
    bench = Bench()
    for number in range(1, 3 * PENDING):
        bench.step(number, forward=1.0)
    bench.recorder.drain()
    assert sum(line.steps for line in bench.steps()) == 3 * PENDING - 1
    assert bench.device.in_use == 0


def test_the_end_of_an_epoch_tells_every_step_and_its_whole_time() -> None:
    bench = Bench()
    began = bench.host.time
    for number in range(1, 11):
        bench.step(number, data=0.01, forward=0.2, backward=0.3)
    bench.recorder.drain()
    lines = bench.steps()
    assert lines[-1].step == 10
    assert sum(line.steps for line in lines) == 10
    assert sum(line.seconds for line in lines) == pytest.approx(bench.host.time - began)
    assert sum(line.spans.forward for line in lines) == pytest.approx(2.0)
    assert bench.device.in_use == 0, "every event is back in the pool"


def test_time_beside_the_steps_is_not_theirs() -> None:
    bench = Bench()
    bench.step(1, data=0.1)
    bench.recorder.drain()
    with bench.recorder.long("validate", 2, epoch=1, step=1) as progress:
        bench.host.time += 30
        progress.advance("sub-1")
        bench.host.time += 30
        progress.advance("sub-2")
    bench.step(2, data=0.2)
    bench.recorder.drain()
    assert [line.seconds for line in bench.steps()] == pytest.approx([0.1, 0.2])
    ended = next(record for record in bench.written if isinstance(record, SpanEnded))
    assert (ended.name, ended.items) == ("validate", 2)
    assert ended.seconds == pytest.approx(60)


def test_a_long_span_begins_with_nothing_done_and_speaks_at_most_once_a_second() -> None:
    bench = Bench()
    with bench.recorder.long("evaluate", 100) as progress:
        for _ in range(100):
            bench.host.time += 0.1
            progress.advance()
    told = [record.done for record in bench.written if isinstance(record, Progress)]
    assert told[0] == 0
    assert 8 <= len(told) <= 11


def test_a_long_span_that_is_broken_off_claims_no_duration() -> None:
    bench = Bench()
    with pytest.raises(KeyError), bench.recorder.long("evaluate", 10):
        raise KeyError
    assert not any(isinstance(record, SpanEnded) for record in bench.written)


def test_quick_steps_share_a_line_and_slow_ones_have_their_own() -> None:
    quick, slow = Bench(), Bench()
    for number in range(1, 101):
        quick.step(number, data=0.01)
        slow.step(number, data=1.0)
    assert len(quick.steps()) == 4
    assert [line.steps for line in slow.steps()] == [1] * 100
    assert quick.steps()[0].low == pytest.approx(0.01)
    assert quick.steps()[0].load_seconds == pytest.approx(0.25)
    assert quick.steps()[0].loads == 25


def test_of_quick_steps_some_are_timed_span_by_span_and_stand_for_all() -> None:
    """Every tenth step computes an expensive term: neither always among the timed ones nor never."""
    bench, count = Bench(timed_share=TIMED_SHARE), 4000
    for number in range(1, count + 1):
        bench.step(number, data=0.003, forward=0.001, backward=0.006 if number % 10 == 0 else 0.0005)
    bench.recorder.drain()
    lines = bench.steps()
    assert sum(line.steps for line in lines) == sum(line.samples for line in lines) == count
    assert sum(line.spans.data for line in lines) == pytest.approx(count * 0.003)
    assert sum(line.spans.forward for line in lines) == pytest.approx(count * 0.001)
    assert sum(line.spans.backward for line in lines) == pytest.approx(count * 0.00105, rel=0.1)
    assert all(line.spans.forward > 0 for line in lines)
    assert bench.device.marks < count * 0.1 * 4, "four marks a timed step"
    assert bench.recorder.losses.count == count
    assert bench.device.in_use == 0


def test_all_slow_steps_are_timed() -> None:
    bench = Bench(timed_share=TIMED_SHARE)
    for number in range(1, 51):
        bench.step(number, data=0.05, forward=0.01 * number)
    bench.recorder.drain()
    assert bench.device.marks == 50 * 4
    assert sum(line.spans.forward for line in bench.steps()) == pytest.approx(0.01 * 25 * 51)


def test_the_first_line_of_another_profile_is_told_from_its_own_steps() -> None:
    bench = Bench(timed_share=TIMED_SHARE)
    for number in range(1, 501):
        bench.step(number, data=0.002, forward=0.001)
    bench.recorder.drain()
    before = len(bench.steps())
    bench.recorder.write_every_step(1)
    bench.step(501, data=0.02, forward=0.01)
    bench.recorder.drain()
    (line,) = bench.steps()[before:]
    assert line.spans.forward == pytest.approx(0.01)
    assert line.each is not None


def test_a_loss_that_is_no_number_is_noticed_when_it_arrives_and_the_line_before_it_is_kept() -> None:
    bench = Bench()
    bench.step(1, forward=1.0, loss=0.5)
    bench.step(2, forward=1.0, loss=float("nan"))
    bench.step(3, forward=1.0, loss=0.5)
    with pytest.raises(NaNLoss, match="step 2"):
        bench.recorder.drain()
    assert bench.steps()[-1].step == 2
    assert bench.steps()[-1].loss == pytest.approx(0.5)


def test_gradients_that_are_no_numbers_are_noticed_with_the_loss_of_their_step() -> None:
    bench = Bench()
    bench.step(1, forward=1.0, loss=0.5, norm=2.0)
    bench.step(2, forward=1.0, loss=0.5, norm=float("inf"))
    bench.step(3, forward=1.0, loss=0.25)
    with pytest.raises(NaNGradients, match=r"norm of the gradients is inf at step 2, with a loss of 0\.5"):
        bench.recorder.drain()
    assert bench.steps()[-1].step == 2
    assert bench.device.waits == 1, "for the drain, not for a norm"


def test_memory_is_told_every_few_seconds_and_not_without_a_device() -> None:
    memory = Memory(allocated=1, reserved=2, peak_allocated=3, peak_reserved=4)
    bench, without = Bench(memory=memory), Bench()
    for number in range(1, 61):
        bench.step(number, data=1.0)
        without.step(number, data=1.0)
    assert 10 <= sum(isinstance(record, Memory) for record in bench.written) <= 13
    assert not any(isinstance(record, Memory) for record in without.written)


@given(
    st.lists(
        st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.booleans()), min_size=1, max_size=40
    )
)
def test_nothing_is_lost_or_told_twice_whatever_the_device_does(steps: list[tuple[float, float, float, bool]]) -> None:
    bench = Bench()
    began, beside = bench.host.time, 0.0
    for number, (data, forward, backward, checkpoint) in enumerate(steps, start=1):
        bench.step(number, data, forward, backward, loss=float(number))
        if checkpoint:
            bench.recorder.drain()
            with bench.recorder.long("checkpoint", 1):
                bench.host.time += 1.0
            beside += 1.0
    bench.recorder.drain()
    lines = bench.steps()
    assert sum(line.steps for line in lines) == len(steps)
    assert [line.step for line in lines] == sorted({line.step for line in lines})
    assert sum(line.seconds for line in lines) == pytest.approx(bench.host.time - began - beside, abs=1e-6)
    assert sum(line.spans.forward for line in lines) == pytest.approx(sum(step[1] for step in steps), abs=1e-6)
    assert sum(line.spans.backward for line in lines) == pytest.approx(sum(step[2] for step in steps), abs=1e-6)
    assert sum(line.spans.data for line in lines) == pytest.approx(sum(step[0] for step in steps), abs=1e-6)
    assert bench.recorder.losses.value == pytest.approx((len(steps) + 1) / 2)
    assert bench.device.in_use == 0


def test_on_a_cpu_the_parts_of_a_step_add_up_to_it() -> None:
    written: list[Record] = []
    recorder = Recorder(written.append, HostClock(), line_seconds=0.0, timed_share=ALL_STEPS)
    a = torch.rand(200, 200)
    for number in range(1, 21):
        lap = recorder.lap
        with recorder.waiting():
            sum(range(20_000))
        recorder.fetch(repeat(Batch(a, a, [0], 0.0)))
        for name in ("h2d", "forward", "loss", "backward", "optimizer"):
            a = (a @ a).clamp(0, 1)
            lap(name)
        recorder.step_ended(number, 1, None, Parts(a.mean(), {}))
    lines = [record for record in written if isinstance(record, Steps)]
    parts = sum(getattr(line.spans, name) for line in lines for name in line.spans.__struct_fields__)
    whole = sum(line.seconds for line in lines)
    assert 0 < parts <= whole
    assert all(line.spans.backward > 0 for line in lines)
