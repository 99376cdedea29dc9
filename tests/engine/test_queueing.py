"""What another profile would do: the queue's laws, and the same grid as real loaders ran it."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from random import Random
from statistics import mean

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.diagnosis.queueing import Prediction, Queue, Workload, predict, simulated, steady
from engine.diagnosis.workload import fit
from engine.phase.measure import Measurement

RECORDED = Path(__file__).parent / "recorded_grids.json"
CT = Workload(
    compute_seconds=0.2, compute_per_sample=1.3, batches=(1, 2), load_seconds=16.0, load_cpu_seconds=15.0, cores=12
)


def knobs(workers: int, ahead: int = 2, batch: int = 1, **more: bool | int) -> dict[str, bool | int | float | str]:
    return {"num_workers": workers, "prefetch_factor": ahead, "batch_size": batch, **more}


def rate(workload: Workload, workers: int, ahead: int = 2, batch: int = 1, **more: bool | int) -> float:
    return predict(workload, knobs(workers, ahead, batch, **more)).samples_per_second


# ---------------------------------------------------------------- laws


def test_sixteen_seconds_of_loading_are_not_mended_by_the_batch_size_but_by_workers() -> None:
    """A 3D CT training: the loader takes 16 s a volume, the GPU 1.5 s. Batch 2 brings nothing, 4 workers four times."""
    one = predict(CT, knobs(1))
    assert one.limit == "loader" and one.step_seconds == pytest.approx(16.0, rel=0.01)
    assert rate(CT, 1, batch=2) / one.samples_per_second == pytest.approx(1.0, rel=0.01)
    assert rate(CT, 4) / one.samples_per_second == pytest.approx(4.0, rel=0.01)
    assert predict(CT, knobs(12)).limit == "compute"
    assert rate(CT, 24) == rate(CT, 12)


def test_without_workers_loading_and_computing_follow_each_other() -> None:
    alone = predict(CT, knobs(0))
    assert alone.limit == "loading in the trainer" and alone.step_seconds == pytest.approx(17.5)


def test_a_pass_more_takes_a_pass_longer() -> None:
    one, four = predict(CT, knobs(2)), predict(CT, knobs(2, accumulate_steps=4))
    assert four.step_seconds == pytest.approx(4 * one.step_seconds)
    assert four.samples_per_second == pytest.approx(one.samples_per_second)


def test_cpu_work_is_shared_by_the_cores() -> None:
    busy = Workload(
        compute_per_sample=1.0, batches=(1,), load_seconds=2.0, load_cpu_seconds=2.0, trainer_cores=1.0, cores=2
    )
    assert predict(busy, knobs(1)).step_seconds == pytest.approx(2.0)
    four = predict(busy, knobs(4))
    assert four.step_seconds == pytest.approx(1.5) and four.limit == "cores"
    assert predict(replace(busy, load_cpu_seconds=0.1), knobs(4)).step_seconds == pytest.approx(1.0)


def test_one_batch_ahead_lets_a_worker_wait_for_its_batch_to_be_taken() -> None:
    queue = Queue(2, 1, 1.0, 0.0, 0.0, 0.1, 0.16, 0.2)
    assert steady(queue) == pytest.approx((1.0 + 0.16) / 2)
    assert steady(msgspec.structs.replace(queue, ahead=2)) == pytest.approx(0.5)


loads = st.floats(0.05, 10.0)
small = st.floats(0, 0.1)
QUEUES = st.builds(
    Queue, st.integers(1, 6), st.sampled_from([1, 2, 4]), loads, st.sampled_from([0.0, 0.5, 1.0]), small, small, small,
    loads, st.booleans(),
)  # fmt: skip


@settings(deadline=None)
@given(QUEUES)
def test_a_simulated_queue_is_never_faster_than_its_parts(queue: Queue) -> None:
    seconds = simulated(queue)
    assert seconds >= 0.999 * (queue.compute + queue.take)
    assert seconds >= 0.97 * (queue.load + queue.pack) / queue.workers
    alone = queue.compute + queue.take + queue.load + queue.pack + queue.take + queue.trip
    assert seconds <= 1.03 * alone


@settings(deadline=None)
@given(QUEUES)
def test_constant_items_simulate_to_the_formula(queue: Queue) -> None:
    queue = msgspec.structs.replace(queue, cv=0.0, trip=queue.take + queue.trip)
    assert simulated(queue) == pytest.approx(steady(queue), rel=0.03)


@settings(deadline=None)
@given(QUEUES)
def test_buffers_and_free_order_only_help(queue: Queue) -> None:
    """By more than the order of a thousand items can change."""
    new = msgspec.structs.replace
    assert simulated(new(queue, ahead=4)) <= 1.02 * simulated(new(queue, ahead=1))
    assert simulated(new(queue, in_order=False)) <= 1.03 * simulated(new(queue, in_order=True))
    assert simulated(new(queue, workers=queue.workers + 1)) <= 1.02 * simulated(queue)


def test_varying_items_want_a_longer_buffer() -> None:
    """Four workers just fast enough on average: with one batch ahead the trainer waits for the slow ones."""
    varying = Queue(4, 1, 1.0, 1.0, 0.0, 0.0, 0.0, 0.27)
    one, four = simulated(varying), simulated(msgspec.structs.replace(varying, ahead=4))
    assert one > 1.2 * four
    assert steady(varying) == pytest.approx(0.27)


def test_the_same_question_has_the_same_answer() -> None:
    varying = Workload(compute_per_sample=0.02, batches=(1,), load_seconds=0.05, load_cv=1.0, cores=4)
    assert predict(varying, knobs(3)) == predict(varying, knobs(3))


# ---------------------------------------------------------------- ranges


def test_another_batch_size_than_measured_has_a_range_from_not_at_all_to_all_per_sample() -> None:
    seen = Workload(compute_per_sample=1.0, batches=(1,), load_seconds=0.01, cores=4)
    four = predict(seen, knobs(2, batch=4))
    assert four.step_seconds == pytest.approx(4.0)
    assert four.low < 1.0 < 4.0 < four.high < 4.5
    assert predict(replace(seen, batches=(1, 8)), knobs(2, batch=4)).low > 3.5


@settings(deadline=None)
@given(st.integers(0, 8), st.sampled_from([1, 2, 4]), st.integers(1, 8))
def test_a_range_holds_its_value(workers: int, ahead: int, batch: int) -> None:
    said = predict(CT, knobs(workers, ahead, batch))
    assert said.low < said.step_seconds < said.high
    low, high = said.samples_range
    assert low < said.samples_per_second < high


# ---------------------------------------------------------------- from probes


def probe(workload: Workload, wanted: dict[str, bool | int | float | str], mode: str = "train") -> Measurement:
    """What a test would show of a training that is exactly this."""
    said: Prediction = predict(workload, wanted)
    batch = int(wanted["batch_size"])
    computing = workload.compute(batch)
    seconds = said.step_seconds if mode == "train" else computing
    blocks = (seconds / batch,) * 10
    taking = workload.take(batch) if mode == "train" and wanted["num_workers"] else 0.0
    return Measurement(
        knobs=wanted, mode=mode, steps=20, samples=20 * batch, warmup_steps=1, step_seconds=seconds,
        quick_seconds=min(seconds, computing + workload.take(batch)), samples_per_second=batch / seconds,
        samples_low=0.0, samples_high=1e9, block=2, blocks=blocks, rounds=(0,) * 10,
        spans={"data": seconds - computing}, load_seconds=workload.load_seconds if mode == "train" else None,
        load_cv=workload.load_cv, load_cpu_seconds=workload.load_cpu_seconds,
        trainer_cpu_seconds=workload.trainer_cores * computing + taking,
    )  # fmt: skip


TRUTHS = st.builds(
    Workload,
    compute_seconds=st.floats(0.01, 0.5),
    compute_per_sample=st.floats(0.01, 0.5),
    batches=st.just((1, 4)),
    load_seconds=st.floats(0.05, 2.0),
    pack_per_sample=st.floats(0, 0.002),
    take_seconds=st.just(0.0011),
    take_per_sample=st.just(0.0003),
    trainer_cores=st.sampled_from([0.0, 1.0]),
    cores=st.sampled_from([4, 16]),
)


@settings(deadline=None)
@given(TRUTHS, st.integers(0, 8), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_two_probes_tell_the_rest_of_the_grid(truth: Workload, workers: int, ahead: int, batch: int) -> None:
    found = fit([probe(truth, knobs(1)), probe(truth, knobs(2, batch=4))], truth.cores)
    wanted = knobs(workers, ahead, batch)
    assert predict(found, wanted).step_seconds == pytest.approx(predict(truth, wanted).step_seconds, rel=0.05)
    assert found.error < 0.03


@settings(deadline=None)
@given(TRUTHS, st.integers(1, 8))
def test_a_resident_batch_tells_what_computing_takes(truth: Workload, workers: int) -> None:
    found = fit([probe(truth, knobs(2)), probe(truth, knobs(2, batch=4), "resident")], truth.cores)
    assert found.compute_seconds == pytest.approx(truth.compute_seconds, rel=0.02, abs=1e-4)
    assert predict(found, knobs(workers)).step_seconds == pytest.approx(
        predict(truth, knobs(workers)).step_seconds, rel=0.05
    )


def test_one_probe_is_enough_for_other_workers_at_its_batch_size() -> None:
    found = fit([probe(CT, knobs(1))], 12)
    assert found.batches == (1,)
    assert rate(found, 4) == pytest.approx(rate(CT, 4), rel=0.02)


def test_workers_that_time_nothing_are_taken_to_be_always_busy() -> None:
    silent = replace(probe(CT, knobs(2)), load_seconds=None, load_cpu_seconds=None)
    assert fit([silent], 12).load_seconds == pytest.approx(16.0, rel=0.01)


def test_a_loading_test_alone_says_nothing_about_training() -> None:
    with pytest.raises(ValueError, match="no probe that trains"):
        fit([replace(probe(CT, knobs(2)), mode="load")], 12)


# ---------------------------------------------------------------- real loaders


class Grid(msgspec.Struct, frozen=True):
    """A grid as tests/benchmarks/predict.py measured it with real DataLoaders."""

    name: str
    cores: int
    varying: bool
    probes: tuple[Measurement, ...]
    measured: tuple[tuple[dict[str, bool | int | float | str], float], ...]


GRIDS = msgspec.json.decode(RECORDED.read_bytes(), type=tuple[Grid, ...])


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_a_recorded_grid_is_foretold_from_two_of_its_tests(grid: Grid) -> None:
    workload = fit(grid.probes, grid.cores)
    errors = [abs(predict(workload, wanted).step_seconds / seconds - 1) for wanted, seconds in grid.measured]
    assert len(errors) >= 36
    assert mean(errors) <= (0.09 if grid.varying else 0.05)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: grid.name)
def test_the_range_of_a_prediction_holds_what_was_measured(grid: Grid) -> None:
    workload = fit(grid.probes, grid.cores)
    said = [(predict(workload, wanted), seconds) for wanted, seconds in grid.measured]
    assert mean(one.low <= seconds <= one.high for one, seconds in said) >= 0.85


def test_heavy_items_sum_to_their_mean() -> None:
    """The simulated items are a sample without an error of its own."""
    draw = Random(0)
    for cv in (0.4, 1.0, 2.0 / sqrt(3)):
        queue = Queue(1, 2, draw.uniform(0.5, 2), cv, 0.0, 0.0, 0.0, 1e-6)
        assert simulated(queue) == pytest.approx(queue.load, rel=0.02)


def test_any_number_of_workers_and_batches_ahead_has_an_answer() -> None:
    """64 batches ahead of 12 workers are more than the batches that are simulated."""
    queue = Queue(workers=12, ahead=64, load=12.0, cv=1.5, pack=0.0, take=0.001, trip=0.002, compute=1.0, in_order=False)
    assert simulated(queue) > 0
