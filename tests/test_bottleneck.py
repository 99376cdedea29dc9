"""Where a step goes: the limit is named when it is one, and advice follows the queue it comes from."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.bottleneck import Bottleneck, bottleneck, lately, predicted
from engine.events import Begin, Sample, Spans, Steps, Worker
from engine.experiment import Lock, RunKey
from engine.fold import fold_run
from engine.state import ExperimentState, new_run
from tests.traces import Recipe, experiment_state, run_records, until_step

GIB = 1 << 30
GPU = Recipe(
    epochs=2, steps_per_epoch=60, spans=Spans(data=15.2, h2d=0.1, forward=0.9, loss=0.1, backward=1.6, optimizer=0.2),
    num_workers=1, load_seconds=17.3, device="cuda:0", device_name="A100", validate_every=0,
)


def seen(recipe: Recipe, step: int = 50, samples: tuple[Sample, ...] = (), noise: float = 0.0) -> ExperimentState:
    spans = recipe.spans
    mean = spans.data + spans.h2d + spans.forward + spans.loss + spans.backward + spans.optimizer
    seconds = [mean * (1 + noise * (i % 2)) for i in range(recipe.steps)]
    return experiment_state(recipe, until_step(run_records(recipe, seconds), step), samples=samples)


def machine(cores: int, worker: int = 0, available: int = 100 * GIB) -> tuple[Sample, ...]:
    workers = (Worker(pid=9, role="trainer", pss=GIB), Worker(pid=10, pss=worker)) if worker else ()
    return (Sample(cores=cores, cpu=1.0, ram_total=200 * GIB, ram_available=available, workers=workers),)


def with_spans(**spans: float) -> Recipe:
    return dataclasses.replace(GPU, spans=Spans(**spans), load_seconds=0.01)


# ---------------------------------------------------------------- what it says


def test_a_gpu_that_waits_is_told_so_and_how_many_workers_would_do() -> None:
    limit = bottleneck(seen(GPU, samples=machine(12, worker=7 * GIB)))
    assert limit.kind == "loader"
    assert limit.headline == "The loader is the limit: the GPU waits 15.1 of 18.1 s."
    assert limit.advice == "num_workers 1→4: 4.1–5.2 s/step expected, 28 GiB."
    assert limit.step_seconds == pytest.approx(18.1)
    assert limit.samples_per_second == pytest.approx(1 / 18.1)
    assert limit.voxels_per_second == pytest.approx(256**3 / 18.1)
    assert limit.load_seconds == pytest.approx(17.3, rel=0.05)


def test_a_busy_gpu_is_the_limit_and_workers_will_not_help() -> None:
    limit = bottleneck(seen(with_spans(data=0.01, forward=0.2, backward=0.31)))
    assert limit.kind == "compute"
    assert limit.headline == "The GPU is the limit: it waits 7 of 520 ms for data."
    assert limit.advice == "More workers will not help: the loader already keeps up."


def test_on_a_cpu_no_gpu_is_spoken_of() -> None:
    recipe = dataclasses.replace(with_spans(data=0.3, forward=0.1, backward=0.1), device="cpu", load_seconds=0.55)
    limit = bottleneck(seen(recipe, samples=machine(8)))
    assert limit.headline == "The loader is the limit: the trainer waits 297 of 500 ms."
    busy = bottleneck(seen(dataclasses.replace(with_spans(data=0.01, forward=0.2, backward=0.3), device="cpu")))
    assert busy.headline.startswith("The CPU is the limit")
    assert "GPU" not in limit.headline + limit.advice + busy.headline + busy.advice


def test_without_workers_loading_happens_in_the_trainer() -> None:
    recipe = dataclasses.replace(GPU, num_workers=0, spans=Spans(data=4.0, forward=1.0, backward=1.0), load_seconds=4.0)
    limit = bottleneck(seen(recipe, samples=machine(8)))
    assert limit.headline == "Loading is the limit: it takes 4.0 of 6.0 s in the trainer itself."
    assert limit.advice.startswith("num_workers 0→2: 1.9–2.3 s/step expected") or "0→4" in limit.advice


@pytest.mark.parametrize(("spans", "kind", "words"), [
    ({"h2d": 0.5, "forward": 0.2, "backward": 0.2}, "copy", "Copying to the GPU is the limit"),
    ({"data": 0.4, "forward": 0.3, "backward": 0.3}, "balanced", "No single limit: data 39 %, computing 60 %."),
])
def test_other_limits_have_their_own_words(spans: dict[str, float], kind: str, words: str) -> None:
    limit = bottleneck(seen(with_spans(**spans)))
    assert (limit.kind, words in limit.headline) == (kind, True), limit.headline


def test_time_in_no_span_is_the_trainers_own() -> None:
    state = fold_run(new_run(RunKey(fold=0, restart=0, seed=1)), [Begin(epochs=1, steps_per_epoch=100, device="cuda:0")])
    run = fold_run(state, [
        Steps(epoch=1, step=i, steps=1, seconds=1.0, low=1.0, high=1.0, samples=1, spans=Spans(forward=0.2, backward=0.3))
        for i in range(1, 31)
    ])
    limit = bottleneck(replace(experiment_state(GPU, []), runs=(run,)))
    assert limit.kind == "host"
    assert [(s.name, s.share) for s in limit.shares if s.name == "other"] == [("other", pytest.approx(0.5))]
    nothing = replace(run, recent=tuple(replace(r, spans=Spans()) for r in run.recent))
    limit = bottleneck(replace(experiment_state(GPU, []), runs=(nothing,)))
    assert (limit.kind, limit.headline) == ("unknown", "the trainer does not say where a step goes")
    assert limit.step_seconds == 1.0


def test_while_it_is_warming_no_limit_is_named() -> None:
    limit = bottleneck(seen(GPU, step=4))
    assert limit.kind == "unknown"
    assert limit.headline == "warming: 4 steps so far; what limits it is not known yet"
    assert limit.advice == ""
    assert limit.step_seconds is not None


def test_before_the_first_step_there_are_no_numbers() -> None:
    assert bottleneck(replace(experiment_state(GPU, []), current=None)) == Bottleneck()
    assert bottleneck(replace(experiment_state(GPU, []), phase="preparing")).headline == "volumes are being prepared"


def test_advice_minds_cores_memory_and_locks() -> None:
    assert bottleneck(seen(GPU, samples=machine(1))).advice == (
        "More workers will not help: there are no more cores than workers."
    )
    two = bottleneck(seen(GPU, samples=machine(2, worker=7 * GIB, available=3 * GIB))).advice
    assert two.startswith("num_workers 1→2: 8.3–10.4 s/step expected, 14 GiB (only 3 GiB are free)")
    state = seen(GPU, samples=machine(12))
    lock = Lock(value=1, reason="the cache is not shared")
    locked = replace(state, plan=replace(state.plan, experiment=replace(state.plan.experiment, locks={"num_workers": lock})))
    assert bottleneck(locked).advice.endswith("Locked: the cache is not shared")


# ---------------------------------------------------------------- what it is computed from


@pytest.mark.parametrize("workers", [2, 3, 4, 6, 8])
def test_bursts_of_the_loader_are_averaged_over_whole_periods(workers: int) -> None:
    recipe = dataclasses.replace(GPU, num_workers=workers, epochs=4)
    seconds = [workers * 10.0 - (workers - 1) * 3.0 if i % workers == 0 else 3.0 for i in range(recipe.steps)]
    for step in range(80, 80 + workers):
        state = experiment_state(recipe, until_step(run_records(recipe, seconds), step))
        assert bottleneck(state).step_seconds == pytest.approx(10.0)


def test_after_a_change_of_pace_only_the_new_one_counts() -> None:
    seconds = [18.1] * 60 + [6.0] * 60
    state = experiment_state(GPU, until_step(run_records(GPU, seconds), 95))
    assert bottleneck(state).step_seconds == pytest.approx(6.0, rel=0.02)
    assert state.run is not None
    assert all(record.step > 58 for record in lately(state.run))


@settings(max_examples=60, deadline=None)
@given(spans=st.lists(st.floats(0, 10), min_size=6, max_size=6), workers=st.integers(0, 9), noise=st.floats(0, 3))
def test_shares_are_shares(spans: list[float], workers: int, noise: float) -> None:
    names = ("data", "h2d", "forward", "loss", "backward", "optimizer")
    recipe = dataclasses.replace(GPU, num_workers=workers, spans=Spans(**dict(zip(names, [0.01 + s for s in spans], strict=True))))
    limit = bottleneck(seen(recipe, step=40, samples=machine(4), noise=noise))
    assert all(0 <= share.share <= 1 and share.seconds >= 0 for share in limit.shares)
    assert sum(share.share for share in limit.shares) == pytest.approx(1.0)
    assert limit.headline
    assert "nan" not in limit.headline + limit.advice


# ---------------------------------------------------------------- the queue


@pytest.mark.parametrize(("load", "computing", "now", "then", "cores"), [
    (17.3, 2.9, 1, 4, 12), (0.9, 0.5, 0, 2, 8), (2.0, 0.1, 2, 8, 6), (1.0, 0.4, 1, 2, 2),
])
def test_prediction_holds_what_a_simulated_loader_does(
    load: float, computing: float, now: int, then: int, cores: int
) -> None:
    measured, truth = simulated_loader(load, computing, now, cores), simulated_loader(load, computing, then, cores)
    low, high = predicted(measured, computing, 1.0, load, now, then, cores)
    assert low <= truth <= high


def simulated_loader(load: float, computing: float, workers: int, cores: int, steps: int = 400) -> float:
    """Seconds per step of workers that each load one sample at a time, in order, two batches ahead."""
    if workers == 0:
        return load + computing
    slower = max(1.0, workers / cores)
    free = [0.0] * workers
    ready: list[float] = []
    taken: list[float] = []
    now = 0.0
    for index in range(steps):
        worker = index % workers
        room = taken[index - 2 * workers] if index >= 2 * workers else 0.0
        free[worker] = max(free[worker], room) + load * slower
        ready.append(free[worker])
        now = max(now, ready[index])
        taken.append(now)
        now += computing
    return (taken[-1] - taken[steps // 2]) / (steps - 1 - steps // 2)


@settings(max_examples=200, deadline=None)
@given(
    seconds=st.floats(0.01, 100), part=st.floats(0, 1), load=st.floats(0, 100), now=st.integers(0, 16),
    more=st.integers(1, 48), cores=st.one_of(st.none(), st.integers(1, 64)), on_cpu=st.booleans(),
)
def test_more_workers_are_never_foretold_to_be_slower(
    seconds: float, part: float, load: float, now: int, more: int, cores: int | None, on_cpu: bool
) -> None:
    low, high = predicted(seconds, seconds * part, 1.0, load, now, now + more, cores, on_cpu)
    assert 0 <= low <= high <= seconds
