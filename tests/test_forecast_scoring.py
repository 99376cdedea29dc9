"""What scoring held-out cases will take: patches, whole volumes window by window, and a last epoch that evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from msgspec.structs import replace

from engine.config import catalog, windows
from engine.config.experiment import resolve_profile
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject
from engine.config.run_keys import runs_of
from engine.eta.earlier import Earlier
from engine.eta.forecast import Forecast, before_launch, forecast
from engine.eta.ladder import Part
from engine.eta.lessons import timing_of
from engine.eta.timing import KeyTiming
from engine.journals.events import (
    AnyRecord,
    Begin,
    CheckpointWritten,
    EpochEnded,
    Metrics,
    Progress,
    SpanEnded,
    Spans,
    Steps,
)
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, RunState, new_experiment, new_run
from tests.conftest import whole_plan
from tests.traces import STARTED

EPOCHS, STEPS, HELD_OUT = 4, 24, 6
# Of one sample: its forward pass, and loading it.
FORWARD, LOAD = 0.02, 0.005
STEP = 0.2
SHAPE = (80, 80, 80)
# Windows of 32³ voxels in a volume of 80³, half over each other: four along each side.
WINDOWS = 64


def surfaces(name: str = "vesuvius-small", epochs: int = EPOCHS, **knobs: int) -> Plan:
    """The small surface experiment: patches of 32³ of volumes of 80³, two at a time, first validated after the last
    epoch."""
    experiment = replace(catalog.experiment_named(name), epochs=epochs)
    profile, _ = resolve_profile(experiment, "conservative", "", {}, {"num_workers": 1, "val_every_epochs": 4, **knobs})
    runs = runs_of(experiment)[:1]
    return whole_plan(experiment, profile, "surfaces", experiment_name=name, runs=runs, created=STARTED)


def prepared(shapes: Sequence[tuple[int, int, int]] = ()) -> Prepared:
    """Twelve volumes, half of them held out; `shapes` of all, as preparation writes them down."""
    total = 2 * HELD_OUT
    known = [shapes[i % len(shapes)] if shapes else (0, 0, 0) for i in range(total)]
    return Prepared(
        subjects=tuple(Subject(id=f"s{i}", folder="", shape=known[i]) for i in range(total)),
        splits=(Split(fold=0, train=tuple(range(HELD_OUT)), test=tuple(range(HELD_OUT, total)), draws=2 * STEPS),),
        data_hash="simulated",
    )


def journal(epochs: int, total: int = EPOCHS, every: dict[str, tuple[int, float, int]] | None = None) -> list[AnyRecord]:
    """What a trainer has written when so many of its epochs are over. `every`: of a scoring, every how many epochs,
    how long an item takes, and how many items."""
    numbers, now = count(1), 1.0
    records: list[AnyRecord] = []

    def wrote(record: AnyRecord, seconds: float = 0.0) -> None:
        nonlocal now
        now += seconds
        records.append(replace(record, n=next(numbers), t=STARTED + now, m=now))

    wrote(Begin(epochs=total, steps_per_epoch=STEPS, batch_size=2, device="cpu", device_name="2-core CPU", num_workers=1))
    wrote(SpanEnded(name="startup", seconds=2.0), 2.0)
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * STEPS + 1, epoch * STEPS + 1):
            spans = Spans(forward=2 * FORWARD, backward=STEP - 2 * FORWARD)
            wrote(Steps(
                epoch=epoch, step=step, steps=1, seconds=STEP, low=STEP, high=STEP, samples=2, spans=spans,
                load_seconds=2 * LOAD, loads=2,
            ), STEP)
        wrote(SpanEnded(name="checkpoint", seconds=0.1, epoch=epoch, step=epoch * STEPS, items=1), 0.1)
        wrote(CheckpointWritten(file="final.pt", step=epoch * STEPS, epoch=epoch, seconds=0.1, verified=True))
        for name, (interval, each, items) in (every or {}).items():
            if epoch % interval == 0:
                wrote(Progress(name=name, done=0, total=items))
                wrote(SpanEnded(name=name, seconds=items * each, epoch=epoch, step=epoch * STEPS, items=items), items * each)
                split = "volume" if name == "reconstruct" else "val"
                wrote(Metrics(split=split, values={"dice": 0.5}, epoch=epoch, step=epoch * STEPS))
        wrote(EpochEnded(epoch=epoch, step=epoch * STEPS, steps=STEPS, seconds=STEPS * STEP))
    return records


def state_of(
    plan: Plan, records: Sequence[AnyRecord], shapes: Sequence[tuple[int, int, int]] = (),
    earlier: Sequence[KeyTiming] = (), run: RunState | None = None,
) -> ExperimentState:
    run = fold_run(run or new_run(plan.runs[0]), records)
    return replace(
        new_experiment("/logs/surfaces", plan), runs=(run,), current=0, phase="running", prepared=prepared(shapes),
        now=records[-1].t, now_monotonic=records[-1].m, supervisor_alive=True, trainer_alive=True,
        earlier=Earlier(timings=tuple(earlier)),
    )


def parts(said: Forecast, rung: str = "run") -> dict[str, Part]:
    return {part.name: part for part in next(one for one in said.ladder if one.name == rung).parts}


# ---------------------------------------------------------------- the evaluation of a patch-wise training


def test_before_a_volume_was_scored_it_is_known_how_many_windows_it_takes() -> None:
    """Volumes that keep their own size: nothing is said of it in the experiment."""
    assert windows.count(SHAPE, (32, 32, 32)) == WINDOWS
    for shapes in ((SHAPE,), ()):  # written down at preparation, or as the sheets are made
        said = forecast(state_of(surfaces(), journal(2), shapes))
        found = parts(said)["evaluate"]
        assert (found.times, found.kind, found.basis) == (HELD_OUT, "modelled", "modelled from the forward pass")
        assert found.each == pytest.approx(WINDOWS * FORWARD + LOAD, rel=0.01)
        assert "evaluate not seen yet: modelled from the forward pass" in said.text
        # Putting windows together and surface figures are not in it: the range is wide.
        assert said.run.seconds is not None and said.run.high is not None
        assert said.run.high - said.run.seconds > 0.5 * found.seconds


def test_patches_of_validation_say_what_a_window_takes_at_most() -> None:
    """They are judged by their loss too: a recorded training's took three times as long as the windows of a volume."""
    patch = 0.09
    said = forecast(state_of(surfaces(val_every_epochs=1), journal(2, every={"validate": (1, patch, 24)}), (SHAPE,)))
    found = parts(said)["evaluate"]
    assert (found.kind, found.basis) == ("modelled", "modelled from the forward pass")
    assert found.each == pytest.approx(WINDOWS * FORWARD + LOAD, rel=0.01)
    assert said.run.seconds is not None and said.run.high is not None
    assert said.run.high - said.run.seconds >= HELD_OUT * (WINDOWS * patch - found.each)


def test_once_volumes_were_reconstructed_that_is_what_their_evaluation_takes() -> None:
    plan = surfaces(epochs=5, val_every_epochs=1, reconstruct_every_epochs=2)
    every = {"validate": (1, 0.05, 24), "reconstruct": (2, 7.5, HELD_OUT)}
    found = parts(forecast(state_of(plan, journal(2, 5, every), (SHAPE,))))
    assert (found["evaluate"].kind, found["evaluate"].basis) == ("measured", "measured here, as reconstruct")
    assert found["evaluate"].each == found["reconstruct"].each == pytest.approx(7.5)


def test_volumes_of_several_sizes_count_by_their_windows_and_an_unknown_size_is_said() -> None:
    own = surfaces()
    own = replace(own, experiment=replace(own.experiment, data=replace(own.experiment.data, source="tiff")))
    shapes = ((80, 80, 80), (48, 48, 48))
    mean = (64 + windows.count(shapes[1], (32, 32, 32))) / 2
    assert parts(forecast(state_of(own, journal(2), shapes)))["evaluate"].each == pytest.approx(mean * FORWARD + LOAD)
    said = forecast(state_of(own, journal(2)))
    assert parts(said)["evaluate"].basis == "modelled from the forward pass, its volumes' size not known"
    assert said.run.seconds is not None and said.run.high is not None and said.run.high > 1.5 * said.run.seconds


def test_what_drawing_peptides_takes_at_the_end_follows_from_those_drawn_between() -> None:
    """Ten steps of the diffusion a peptide: 50 for a part between epochs; at the end 200, and all its 8 sequences are
    asked once each."""
    experiment = replace(catalog.experiment_named("mimir-quick"), epochs=EPOCHS)
    profile, _ = resolve_profile(experiment, "conservative", "", {}, {"num_workers": 1})
    plan = whole_plan(experiment, profile, "surfaces", runs=runs_of(experiment)[:1], created=STARTED)
    before = parts(forecast(state_of(plan, journal(1))))["evaluate"]
    rows = 2 * STEPS / HELD_OUT
    assert before.each == pytest.approx((rows + 200 * 10) * (FORWARD + LOAD))
    found = parts(forecast(state_of(plan, journal(2, every={"reconstruct": (2, 0.5, HELD_OUT)}))))["evaluate"]
    assert found.each == pytest.approx(0.5 * (rows + 200 * 10) / (50 * 10))
    assert found.basis == "modelled from reconstruct"


# ---------------------------------------------------------------- the last epoch evaluates


def test_what_the_last_epoch_reconstructs_is_not_evaluated_again() -> None:
    plan = surfaces(val_every_epochs=0, val_patches_per_volume=0, reconstruct_every_epochs=2)
    every = {"reconstruct": (2, 7.5, HELD_OUT)}
    early = parts(forecast(state_of(plan, journal(1), (SHAPE,))))
    assert early["reconstruct"].times == 2 * HELD_OUT and "evaluate" not in early
    half = parts(forecast(state_of(plan, journal(2, every=every), (SHAPE,))))
    assert half["reconstruct"].seconds == pytest.approx(7.5 * HELD_OUT) and "evaluate" not in half
    over = forecast(state_of(plan, journal(4, every=every), (SHAPE,)))
    assert set(parts(over)) <= {"closing"}, "all is scored: nothing but the process's end is left"
    odd = surfaces(epochs=5, val_every_epochs=0, val_patches_per_volume=0, reconstruct_every_epochs=2)
    assert parts(forecast(state_of(odd, journal(4, 5, every), (SHAPE,))))["evaluate"].times == HELD_OUT


def test_volumes_under_way_and_done_are_counted_by_their_progress() -> None:
    """At the end of the second of four epochs, which reconstructs, and of the last one."""
    plan = surfaces(val_every_epochs=0, val_patches_per_volume=0, reconstruct_every_epochs=2)
    every = {"reconstruct": (2, 7.5, HELD_OUT)}
    for epochs, later in ((2, HELD_OUT), (4, 0)):
        before = journal(epochs, every=every)[:-3]  # neither its span, its figures nor the epoch's end
        last = before[-1]
        done = Progress(name="reconstruct", done=2, total=HELD_OUT, n=last.n + 1, t=last.t + 15, m=last.m + 15)
        found = parts(forecast(state_of(plan, [*before, done], (SHAPE,))))
        assert found["reconstruct"].times == HELD_OUT - 2 + later
        after = parts(forecast(state_of(plan, journal(epochs, every=every)[:-1], (SHAPE,))))
        assert after.get("reconstruct", Part("", 0.0, 0, 0.0, "", "measured")).times == later


def test_a_process_that_begins_behind_the_last_epoch_evaluates() -> None:
    plan = surfaces(val_every_epochs=0, val_patches_per_volume=0, reconstruct_every_epochs=2)
    first = fold_run(new_run(plan.runs[0]), journal(4, every={"reconstruct": (2, 7.5, HELD_OUT)}))
    at = first.last_monotonic + 60
    total = EPOCHS * STEPS
    again: list[AnyRecord] = [
        Begin(epochs=EPOCHS, steps_per_epoch=STEPS, attempt=2, resumed_from_step=total, resumed_from="final.pt",
              device_name="2-core CPU", t=STARTED + at, m=at),
        SpanEnded(name="startup", seconds=2.0, t=STARTED + at + 2, m=at + 2),
    ]
    for records in (again[:1], again):
        found = parts(forecast(state_of(plan, records, (SHAPE,), run=first)))
        assert found["evaluate"].times == HELD_OUT and found["evaluate"].each == pytest.approx(7.5)
        assert "reconstruct" not in found


# ---------------------------------------------------------------- what earlier experiments scored


def told(plan: Plan, shapes: Sequence[tuple[int, int, int]] = (SHAPE,), **every: tuple[int, float, int]) -> KeyTiming:
    """What such an experiment tells after it has ended."""
    records = journal(EPOCHS, every=every)
    state = state_of(plan, records, shapes)
    timing = timing_of(replace(state, runs=(replace(state.runs[0], phase="finished"),), phase="finished"))
    assert timing is not None
    return timing


def test_patches_of_validation_do_not_take_what_whole_volumes_took() -> None:
    whole = told(surfaces(val_patches_per_volume=0), validate=(1, 3.0, HELD_OUT))
    patches = told(surfaces(), validate=(4, 0.06, 24))
    assert whole.key == patches.key, "their steps are alike"
    plan = surfaces(val_every_epochs=1)
    known = forecast(state_of(plan, journal(1), (SHAPE,), earlier=[whole, patches]))
    assert parts(known)["validate"].each == pytest.approx(0.06)
    assert parts(known)["validate"].basis == "from earlier experiments"
    guessed = parts(forecast(state_of(plan, journal(1), (SHAPE,), earlier=[whole])))["validate"]
    assert guessed.each < 0.1 and guessed.kind == "modelled"
    for timings, each, kind in (([whole], STEP / 2 / 3, "modelled"), ([whole, patches], 0.06, "earlier")):
        launched = parts(before_launch(plan, {0: STEPS}, {0: HELD_OUT}, timings))["validate"]
        assert launched.each == pytest.approx(each, rel=0.01) and launched.kind == kind


def test_whole_volumes_do_not_take_what_patches_took_nor_what_smaller_ones_did() -> None:
    patches, quick = told(surfaces(), validate=(4, 0.06, 24)), told(surfaces(), validate=(4, 0.01, 24))
    third = WINDOWS * STEP / 2 / 3  # of a step for each window is its forward pass, usually; a patch with its loss is longer
    for timing, each, basis in ((patches, third, "a step"), (quick, WINDOWS * 0.01, "validate, from earlier experiments")):
        found = parts(before_launch(surfaces(), {0: STEPS}, {0: HELD_OUT}, [timing]))["evaluate"]
        assert found.each == pytest.approx(each) and found.basis == f"modelled from {basis}"
    every = surfaces(val_every_epochs=1, val_patches_per_volume=0)
    assert parts(before_launch(every, {0: STEPS}, {0: HELD_OUT}, [patches]))["validate"].each > 1.0
    small = (48, 48, 48)
    smaller = told(surfaces(reconstruct_every_epochs=2), shapes=(small,), reconstruct=(2, 1.0, HELD_OUT))
    found = parts(before_launch(surfaces(), {0: STEPS}, {0: HELD_OUT}, [smaller]))["evaluate"]
    assert found.each == pytest.approx(WINDOWS / windows.count(small, (32, 32, 32)))
    assert found.basis == "from earlier experiments"


def test_a_validation_by_dice_alone_does_not_tell_what_surface_figures_take() -> None:
    """Both of whole volumes: the evaluation judges by surfaces too."""
    plan = surfaces(val_every_epochs=1, val_patches_per_volume=0)
    found = parts(forecast(state_of(plan, journal(2, every={"validate": (1, 2.0, HELD_OUT)}), (SHAPE,))))["evaluate"]
    assert (found.kind, found.each) == ("modelled", pytest.approx(2.0))
    stroke = surfaces("stroke-small", val_every_epochs=1, val_patches_per_volume=0, reconstruct_every_epochs=0)
    seen = forecast(state_of(stroke, journal(2, every={"validate": (1, 2.0, HELD_OUT)})))
    unlike = forecast(state_of(plan, journal(2, every={"validate": (1, 2.0, HELD_OUT)}), (SHAPE,)))
    width = [(one.run.high or 0) - (one.run.seconds or 0) for one in (seen, unlike)]
    assert width[0] < width[1]
