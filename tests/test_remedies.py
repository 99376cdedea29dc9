"""What is proposed where the loader is not the limit: what it would save, what it takes, and what is only a guess."""

from __future__ import annotations

import dataclasses
import re

from msgspec.structs import replace

from engine.config.knob import Value
from engine.config.profile import defaults
from engine.diagnosis.advice import advice
from engine.diagnosis.bottleneck import Bottleneck, bottleneck, proposed
from engine.diagnosis.consequences import consequences
from engine.eta.forecast import forecast
from engine.journals.events import Gpu, Sample, Spans
from engine.live.state import ExperimentState
from tests.traces import Recipe, experiment_state, run_records, until_step

GIB = 1 << 30
MACHINE = Sample(cores=12, cpu=1.0, ram_total=200 * GIB, ram_available=100 * GIB)
GPU = Recipe(
    epochs=8, steps_per_epoch=40, spans=Spans(data=0.01, forward=0.5, backward=0.5), num_workers=1,
    load_seconds=0.3, device="cuda:0", device_name="A100", validate_every=0,
)


def seen(recipe: Recipe, step: int = 100, util: float | None = None, **knobs: Value) -> ExperimentState:
    spans = recipe.spans
    mean = spans.data + spans.h2d + spans.forward + spans.loss + spans.backward + spans.optimizer
    gpus = (Gpu(index=0, util=util, own_memory=GIB, memory_used=GIB),) if util is not None else ()
    records = until_step(run_records(recipe, [mean] * recipe.steps), step)
    state = experiment_state(recipe, records, samples=(replace(MACHINE, gpus=gpus),))
    held = defaults() | state.plan.profile.knobs | {"num_workers": recipe.num_workers} | knobs
    return replace(state, plan=replace(state.plan, profile=replace(state.plan.profile, knobs=held)))


def limit_of(state: ExperimentState, kind: str) -> Bottleneck:
    found = bottleneck(state)
    assert found.kind == kind, found
    return found


# ---------------------------------------------------------------- validation


VALIDATING = dataclasses.replace(GPU, validate_every=1, validate_items=10, validate_item_seconds=9.0, load_seconds=6.0)


def test_validating_half_as_often_says_how_much_sooner_it_ends() -> None:
    state = seen(VALIDATING, val_every_epochs=1)
    limit = limit_of(state, "validation")
    said = re.search(r"val_every_epochs 1→2: (\S+ \S+)–(\S+ \S+) less until the end, for half the points", limit.advice)
    one = re.search(r"val_every_epochs 1→2: (\S+ \S+) less until the end, for half the points", limit.advice)
    assert said or one, limit.advice
    now = forecast(state)
    less = (now.experiment.seconds or 0) - (consequences(state, {"val_every_epochs": 2}, now).finish.value or 0)
    assert 0.3 * now.parts["validate"] < less < 0.8 * now.parts["validate"], "about half of what is left of it"


def test_processes_that_load_for_validation_cost_memory_and_bring_what_was_waited() -> None:
    limit = limit_of(seen(VALIDATING, val_every_epochs=1), "validation")
    assert re.search(r"val_num_workers 0→2: .* less until the end, .*(GiB|MiB) more RAM", limit.advice), limit.advice


def test_where_computing_is_what_validation_waits_for_loading_is_not_proposed() -> None:
    state = seen(dataclasses.replace(VALIDATING, load_seconds=0.001), val_every_epochs=1)
    assert "val_num_workers" not in limit_of(state, "validation").advice


# ---------------------------------------------------------------- copying, computing, launching


COPYING = dataclasses.replace(GPU, spans=Spans(h2d=0.5, forward=0.25, backward=0.25), load_seconds=0.01)


def test_pinned_memory_brings_at_most_what_copying_takes() -> None:
    limit = limit_of(seen(COPYING, pin_memory=False), "copy")
    assert limit.advice.startswith("pin_memory false→true: at most ×1.99 the samples/s, ")
    assert "more RAM" in limit.advice and limit.advice.endswith("(a guess, test it in a phase): copying is 50 % of a step.")
    pinned = limit_of(seen(COPYING, pin_memory=True), "copy")
    assert pinned.advice.startswith("Copies are page-locked already; without any it would be at most ×1.99")


def test_a_gpu_that_computes_can_win_no_more_than_it_waits() -> None:
    limit = limit_of(seen(dataclasses.replace(GPU, spans=Spans(data=0.08, forward=0.46, backward=0.46))), "compute")
    assert "(×1.08 at most without any wait)" in limit.advice
    assert "compile false→true" in limit.advice and "a guess, test it in a phase" in limit.advice
    assert "compile" not in limit_of(seen(GPU, compile=True), "compute").advice


def test_what_the_gpu_idles_bounds_what_launching_less_would_bring() -> None:
    limit = limit_of(seen(GPU, util=40.0), "host")
    assert "compile false→true launches less: at most ×2.5 the samples/s" in limit.advice


# ---------------------------------------------------------------- storage


def test_volumes_in_ram_take_their_bytes_and_bring_at_most_the_wait() -> None:
    recipe = dataclasses.replace(GPU, spans=Spans(data=2.0, forward=0.2, backward=0.2), load_seconds=2.4)
    made = replace(seen(recipe), samples=(replace(MACHINE, disk_read=90e6),))
    assert made.run is not None
    recent = tuple(replace(line, load_cpu=0.1 * line.load_seconds) for line in made.run.recent)
    limit = limit_of(replace(made, runs=(replace(made.run, recent=recent), *made.runs[1:])), "storage")
    said = re.search(r"cache disk→ram: at most ×([\d.]+) once each volume was read, (\S+ \S+) more RAM", limit.advice)
    assert said and 4 < float(said[1]) < 10, limit.advice
    assert "a guess" in limit.advice


# ---------------------------------------------------------------- the order that samples are learned in


def uneven(state: ExperimentState) -> ExperimentState:
    """Some samples take many times as long to load as others."""
    assert state.run is not None
    recent = tuple(replace(line, load_squares=line.load_seconds**2 / line.loads * 4) for line in state.run.recent)
    return replace(state, runs=(replace(state.run, recent=recent), *state.runs[1:]))


def test_another_order_of_samples_is_never_the_next_change_where_something_else_helps() -> None:
    recipe = dataclasses.replace(GPU, spans=Spans(data=1.0, forward=0.5, backward=0.5), num_workers=4, load_seconds=4.0)
    found = advice(uneven(seen(recipe, in_order=True))).change
    assert found is not None and found.knob in ("num_workers", "prefetch_factor")


def test_where_nothing_else_helps_it_is_said_to_be_for_a_phase_only() -> None:
    recipe = dataclasses.replace(GPU, spans=Spans(data=1.0, forward=0.5, backward=0.5), num_workers=12, load_seconds=12.0)
    state = uneven(seen(recipe, in_order=True, prefetch_factor=32))
    change = advice(state).change
    assert change is not None and change.knob == "in_order"
    said = proposed(change)
    assert said.startswith("in_order true→false: ") and said.endswith(" In a test phase only: it changes the optimisation.")
