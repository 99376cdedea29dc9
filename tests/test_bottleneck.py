"""Where a step goes: the limit is named when it is one, and advice follows the queue it comes from."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.config.tables import Lock
from engine.diagnosis.bottleneck import Bottleneck, bottleneck, lately
from engine.journals.events import Begin, Gpu, Sample, Spans, Steps, Worker
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, Part, new_run
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
    workers = (Worker(pid=9, role="trainer", pss=GIB, uss=GIB), Worker(pid=10, pss=worker, uss=worker)) if worker else ()
    return (Sample(cores=cores, cpu=1.0, ram_total=200 * GIB, ram_available=available, workers=workers),)


def with_spans(**spans: float) -> Recipe:
    return dataclasses.replace(GPU, spans=Spans(**spans), load_seconds=0.01)


# ---------------------------------------------------------------- what it says


def test_a_gpu_that_waits_is_told_so_and_how_many_workers_would_do() -> None:
    limit = bottleneck(seen(GPU, samples=machine(12, worker=7 * GIB)))
    assert limit.kind == "loader"
    assert limit.headline == "The loader is the limit: the GPU waits 15.1 of 18.1 s."
    assert limit.advice.startswith("num_workers 1→4: 4.2–4.9 s/step expected, ")
    assert limit.change is not None
    assert limit.change.memory.startswith("29.") or limit.change.memory.startswith("3")
    assert limit.step_seconds == pytest.approx(18.1)
    assert limit.samples_per_second == pytest.approx(1 / 18.1)
    assert limit.voxels_per_second == pytest.approx(256**3 / 18.1)
    assert limit.load_seconds == pytest.approx(17.3, rel=0.05)


def test_a_loader_that_prepares_each_sample_anew_is_called_so_and_the_cache_is_what_to_try() -> None:
    state = seen(GPU, samples=machine(12, worker=7 * GIB))
    profile = replace(state.plan.profile, knobs={**state.plan.profile.knobs, "cache": "none"})
    limit = bottleneck(replace(state, plan=replace(state.plan, profile=profile)))
    assert limit.headline == "The loader is the limit, preparing each sample anew: the GPU waits 15.1 of 18.1 s."
    assert limit.advice.startswith("cache none→disk: ") and "–18.1 s/step expected" in limit.advice
    assert limit.change is not None and limit.change.gain_low == 1.0 < limit.change.gain_high


def test_a_busy_gpu_is_the_limit_and_workers_will_not_help() -> None:
    limit = bottleneck(seen(with_spans(data=0.01, forward=0.2, backward=0.31)))
    assert limit.kind == "compute"
    assert limit.headline == "The GPU is the limit: it computes 510 of 520 ms."
    assert limit.advice == (
        "More workers will not help: the loader already keeps up (×1.01 at most without any wait). "
        "compile false→true is a guess, test it in a phase."
    )


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
    assert limit.advice.startswith("num_workers 0→2: 1.9–2.2 s/step expected")


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
    assert two.startswith("num_workers 1→2: 8.4–9.8 s/step expected, 15.6 GiB of RAM, which does not fit")
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


# ---------------------------------------------------------------- what it rests on


def test_document_002_is_told_what_its_larger_batch_would_have_brought() -> None:
    """A loader of 16 s a sample, 1.5 s of computing, 12 cores: the plan expected twice the speed of batch 2."""
    recipe = dataclasses.replace(
        GPU, spans=Spans(data=14.5, h2d=0.01, forward=0.5, loss=0.09, backward=0.8, optimizer=0.1), load_seconds=15.9
    )
    limit = bottleneck(seen(recipe, samples=machine(12, worker=7 * GIB)))
    assert limit.kind == "loader"
    assert limit.confidence == "sure"
    assert any("batch_size 1→2: ×1.0 the samples/s" in said for said in limit.useless)
    assert limit.change is not None
    assert (limit.change.knob, limit.change.after) == ("num_workers", 4)
    assert 3.6 <= limit.change.gain_low <= 4.0 <= limit.change.gain_high <= 4.4
    assert any("1 worker busy" in said for said in limit.evidence)


def test_memory_is_named_when_it_is_what_keeps_workers_away() -> None:
    few = bottleneck(seen(GPU, samples=machine(12, worker=7 * GIB, available=20 * GIB)))
    assert few.kind == "loader"
    assert few.change is not None
    assert (few.change.after, few.change.refused) == (3, ""), "four do not fit, three do"
    none = bottleneck(seen(GPU, samples=machine(12, worker=7 * GIB, available=2 * GIB)))
    assert none.kind == "memory"
    assert none.headline == "Memory limits the loader: the GPU waits 15.1 of 18.1 s, and more workers do not fit."
    assert any("GiB free" in said for said in none.evidence)


def test_samples_that_wait_for_the_disk_are_told_from_samples_that_compute() -> None:
    def state(cpu: float, read: float) -> ExperimentState:
        made = seen(GPU, samples=tuple(replace(one, disk_read=read) for one in machine(12, worker=GIB)))
        assert made.run is not None
        recent = tuple(replace(line, load_cpu=cpu * line.load_seconds) for line in made.run.recent)
        return replace(made, runs=(replace(made.run, recent=recent), *made.runs[1:]))

    assert bottleneck(state(0.1, 90e6)).kind == "storage"
    assert "wait for the disk" in bottleneck(state(0.1, 90e6)).headline
    assert bottleneck(state(0.95, 90e6)).kind == "loader"
    assert bottleneck(state(0.1, 0.0)).kind == "loader"


def test_validation_that_takes_half_the_time_is_the_limit() -> None:
    made = seen(dataclasses.replace(GPU, load_seconds=0.1, spans=Spans(data=0.01, forward=1.0)))
    assert made.run is not None
    parts = {"validate": Part(3, made.run.pace.seconds, 10.0, 30)}
    limit = bottleneck(replace(made, runs=(replace(made.run, parts=parts), *made.runs[1:])))
    assert limit.kind == "validation"
    assert "50 % of the time" in limit.headline
    assert "val_every_epochs" in limit.advice


def test_a_gpu_that_idles_while_it_computes_waits_for_its_instructions() -> None:
    busy = with_spans(data=0.01, forward=0.2, backward=0.31)
    samples = tuple(
        replace(one, gpus=(Gpu(index=0, util=35.0, own_memory=GIB, memory_used=GIB),)) for one in machine(8, worker=GIB)
    )
    limit = bottleneck(seen(busy, samples=samples))
    assert limit.kind == "host"
    assert limit.headline == "Launching is the limit: the GPU is busy 35 % of a step that only computes."


def test_idle_workers_beside_a_waiting_trainer_are_a_contradiction_and_said() -> None:
    odd = dataclasses.replace(GPU, spans=Spans(data=15.0, forward=1.0, backward=2.0), num_workers=4, load_seconds=10.0)
    limit = bottleneck(seen(odd, samples=machine(12)))
    assert limit.confidence == "a guess"
    assert any("steptop bench" in said for said in limit.evidence)


def test_other_processes_that_take_the_cores_are_named_before_any_setting() -> None:
    recipe = dataclasses.replace(with_spans(data=0.01, forward=0.2, backward=0.3), device="cpu")
    crowd = tuple(replace(one, cpu=2.0, own_cpu=0.5) for one in machine(2, worker=GIB))
    limit = bottleneck(seen(recipe, samples=crowd))
    assert limit.advice == "Other processes use 1.5 of 2 cores; no setting here helps that."
    alone = tuple(replace(one, cpu=2.0, own_cpu=1.9) for one in machine(2, worker=GIB))
    assert "Other processes" not in bottleneck(seen(recipe, samples=alone)).advice
