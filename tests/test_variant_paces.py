"""Another variant is another network: before a launch, between runs and in a what-if each counts by its own pace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.config import catalog
from engine.config.experiment import resolve_profile
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject
from engine.config.run_keys import runs_of, variants_of
from engine.eta.earlier import Earlier
from engine.eta.forecast import Forecast, before_launch, forecast
from engine.eta.lessons import timing_of
from engine.eta.timing import KeyTiming, alone, benchmark_key
from engine.journals.events import (
    AnyRecord,
    Begin,
    EpochEnded,
    ExperimentEnded,
    RunEnded,
    RunStarted,
    SpanEnded,
    Steps,
    SupervisorStarted,
    Verdict,
)
from engine.journals.journal import write_all
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, RunState, new_experiment
from engine.machine.cores import machine
from engine.machine.device_preview import quick_device
from engine.paths import ExperimentPaths, write_json
from engine.runs.expected import expect
from engine.runs.launch import Request
from engine.whatif import remarks
from engine.whatif.estimate import of_request
from engine.whatif.known import known_of
from engine.whatif.what_if import Question, times
from tests.conftest import whole_plan
from tests.traces import STARTED

CPU = "2-core CPU"
EPOCHS, STEPS = 4, 12
SLOW, QUICK = 2.0, 1.0
NAMES = ("baseline", "mkdc-ds")


def ablation(*variants: str) -> Plan:
    """Two variants × two folds of the small stroke study, four epochs of twelve steps, nothing validated."""
    experiment = replace(catalog.experiment_named("stroke-small"), epochs=EPOCHS)
    knobs = {"val_every_epochs": 0, "val_patches_per_volume": 0, "reconstruct_every_epochs": 0, "num_workers": 1}
    profile, _ = resolve_profile(experiment, "conservative", "", {}, knobs)
    return whole_plan(
        experiment, profile, "ablation", experiment_name="stroke-small", created=STARTED, device="cpu",
        runs=runs_of(experiment, variants=variants or None),
    )


PREPARED = Prepared(
    subjects=tuple(Subject(id=f"s{i}", folder="") for i in range(48)),
    splits=tuple(
        Split(fold=fold, train=tuple(i for i in range(48) if i % 2 != fold), test=tuple(i for i in range(48) if i % 2 == fold), draws=48)
        for fold in range(2)
    ),
    data_hash="simulated",
)


def records(
    run: RunState, step_seconds: float, epochs: int = EPOCHS, device: str = CPU, cores: int = 0
) -> list[AnyRecord]:
    key, now = run.key, 1.0
    found: list[AnyRecord] = [
        Begin(fold=key.fold, variant=key.variant, epochs=EPOCHS, steps_per_epoch=STEPS, device="cpu", device_name=device,
              num_workers=1, cores=cores, t=STARTED, m=now)
    ]
    for step in range(1, epochs * STEPS + 1):
        now += step_seconds
        found.append(Steps(
            epoch=(step - 1) // STEPS + 1, step=step, steps=1, seconds=step_seconds, low=step_seconds, high=step_seconds,
            samples=4, t=STARTED + now, m=now,
        ))
        if step % STEPS == 0:
            found.append(EpochEnded(
                epoch=step // STEPS, step=step, steps=STEPS, seconds=STEPS * step_seconds, t=STARTED + now, m=now
            ))
    return found


def finished(run: RunState, step_seconds: float) -> RunState:
    span = SpanEnded(name="evaluate", seconds=24.0, items=24, epoch=EPOCHS, step=EPOCHS * STEPS)
    return replace(fold_run(run, [*records(run, step_seconds), span]), phase="finished")


def under_way(done: Sequence[float], now: float | None = None, plan: Plan | None = None) -> ExperimentState:
    """The first runs have ended and took so many seconds a step; the next one is in its fourth epoch."""
    state = new_experiment("/logs/ablation", plan or ablation())
    runs = [finished(run, seconds) for run, seconds in zip(state.runs, done, strict=False)]
    if now is not None:
        runs.append(replace(fold_run(state.runs[len(done)], records(state.runs[len(done)], now, epochs=3)), phase="running"))
    runs += state.runs[len(runs):]
    return replace(
        state, runs=tuple(runs), phase="running", prepared=PREPARED, current=len(done) - (now is None),
        runs_ended_here=len(done), now=STARTED + 500, now_monotonic=500.0, supervisor_alive=True, trainer_alive=now is not None,
    )


def train(said: Forecast, rung: str = "experiment") -> float:
    found = next(one for one in said.ladder if one.name == rung)
    return next(part.seconds for part in found.parts if part.name == "train")


def told(seconds: dict[str, float]) -> KeyTiming:
    """What an ended experiment of these variants tells, its device this machine's."""
    plan = ablation(*seconds)
    runs = [finished(run, seconds[run.key.variant]) for run in new_experiment("/logs/earlier", plan).runs]
    timing = timing_of(replace(new_experiment("/logs/earlier", plan), runs=tuple(runs), phase="finished", prepared=PREPARED))
    assert timing is not None
    return timing


def launched(*timings: KeyTiming) -> Forecast:
    return before_launch(ablation(), {0: STEPS, 1: STEPS}, {0: 24, 1: 24}, timings)


RUN = EPOCHS * STEPS

# ---------------------------------------------------------------- between runs


def test_between_two_runs_no_variant_is_counted_with_the_mean_of_both() -> None:
    """The quick one and the slow one of fold 0 are over: one of each is to come."""
    assert train(forecast(under_way([QUICK, SLOW]))) == pytest.approx((QUICK + SLOW) * RUN, rel=0.03)
    assert train(forecast(under_way([QUICK])), "run") == pytest.approx(QUICK * RUN, rel=0.03), "nothing of it is known"


def test_a_variant_that_has_not_run_here_goes_by_earlier_experiments_beside_the_others() -> None:
    """There everything took twice as long."""
    known = told({"baseline": 2 * QUICK, "mkdc-ds": 2 * SLOW})
    state = replace(under_way([QUICK]), earlier=Earlier(timings=(known,)))
    assert train(forecast(state)) == pytest.approx((QUICK + 2 * SLOW) * RUN, rel=0.05)
    without = forecast(under_way([QUICK])).experiment
    with_it = forecast(state).experiment
    assert without.seconds and without.high and with_it.seconds and with_it.high
    assert with_it.high / with_it.seconds < without.high / without.seconds


# ---------------------------------------------------------------- before a launch


def test_a_launch_of_several_variants_counts_each_by_its_own_pace() -> None:
    said = launched(told({"baseline": QUICK, "mkdc-ds": SLOW}))
    assert train(said, "run") == pytest.approx(QUICK * RUN), "the first run is the first variant's"
    assert train(said) == pytest.approx(2 * (QUICK + SLOW) * RUN)
    assert "was measured" not in said.text


def test_variants_that_were_measured_one_by_one_tell_of_a_launch_of_both() -> None:
    said = launched(told({"mkdc-ds": SLOW}), told({"baseline": QUICK}))
    assert train(said) == pytest.approx(2 * (QUICK + SLOW) * RUN)
    alone_again = before_launch(ablation("mkdc-ds"), {0: STEPS, 1: STEPS}, {0: 24, 1: 24}, [told({"baseline": QUICK, "mkdc-ds": SLOW})])
    assert train(alone_again) == pytest.approx(2 * SLOW * RUN), "and one of both of a launch of one"


def test_a_variant_of_which_no_step_was_measured_widens_the_range_and_it_is_said() -> None:
    one, both = launched(told({"baseline": QUICK})), launched(told({"baseline": QUICK, "mkdc-ds": QUICK}))
    assert train(one) == pytest.approx(4 * QUICK * RUN)
    said = "no step of mkdc-ds was measured: taken to be as long as one of baseline, give or take 25%"
    assert said in one.text and said not in both.text
    widths = [(found.experiment.high or 0) / (found.experiment.seconds or 1) for found in (one, both)]
    assert widths[0] > widths[1]


def test_runs_of_one_variant_are_no_less_alike_because_another_is_slower() -> None:
    alike, apart = told({"baseline": QUICK, "mkdc-ds": QUICK}), told({"baseline": QUICK, "mkdc-ds": SLOW})
    assert alike.between_runs == pytest.approx(apart.between_runs)
    keys = [benchmark_key(alone(ablation(), name), CPU) for name in NAMES]
    assert apart.paces == pytest.approx(dict(zip(keys, (QUICK, SLOW), strict=True)))


# ---------------------------------------------------------------- what if


def test_asked_for_all_of_it_a_living_ablation_counts_each_variant_by_its_pace() -> None:
    """The slow one of fold 0 trains: half of the runs are quicker."""
    known = known_of(under_way([QUICK], SLOW), ())
    assert known.paces.present == "mkdc-ds"
    assert known.paces.seconds == pytest.approx({"baseline": QUICK, "mkdc-ds": SLOW})
    found = times(known, Question())
    assert found.parts["train"] == pytest.approx(2 * (QUICK + SLOW) * RUN, rel=0.03)
    assert found.run.value == pytest.approx(QUICK * RUN + 24, rel=0.3), "the first run is a quick one"


def test_asked_for_variants_that_were_not_measured_it_says_so() -> None:
    plan = ablation("baseline")
    known = known_of(under_way([QUICK, QUICK], plan=plan), ())
    question, own = Question(variants=NAMES), Question()
    said = remarks.remarks(known, question, times(known, question))
    assert any(text.startswith("no step of mkdc-ds was measured") for text in said)
    assert not any("mkdc-ds" in text for text in remarks.remarks(known, own, times(known, own)))
    both, one = times(known, question).experiment, times(known, own).experiment
    assert both.value and both.high and one.value and one.high
    assert both.value == pytest.approx(2 * one.value, rel=0.1) and both.high / both.value > one.high / one.value


# ---------------------------------------------------------------- real folders


def recorded(logs: Path, name: str, seconds: dict[str, float]) -> None:
    """An ended experiment of these variants on this machine's own device."""
    plan = replace(ablation(*seconds), name=name)
    paths = ExperimentPaths(logs / name)
    paths.folder.mkdir(parents=True)
    write_json(paths.plan, plan)
    write_json(paths.data, PREPARED)
    device = quick_device("cpu")["name"]
    keys = tuple((key.fold, key.restart) for key in plan.runs)
    names = tuple(key.variant for key in plan.runs)
    events: list[AnyRecord] = [
        SupervisorStarted(pid=1, host="h", boot_id="b", runs=keys, variants=names, t=STARTED, m=0.5)
    ]
    for run in new_experiment(str(paths.folder), plan).runs:
        folder = paths.run(*run.key.at)
        folder.folder.mkdir()
        written = records(run, seconds[run.key.variant], device=device, cores=machine().cores)
        write_all(folder.segment(1), written)
        at = {"fold": run.key.fold, "restart": run.key.restart, "variant": run.key.variant, "attempt": 1}
        last = written[-1]
        events.append(RunStarted(**at, pid=2, t=STARTED, m=1.0))
        events.append(RunEnded(
            **at, outcome="finished", rc=0, seconds=last.m, verdict=Verdict(kind="finished", text="done"), t=last.t, m=last.m
        ))
    events.append(ExperimentEnded(outcome="finished", text="all runs finished", t=events[-1].t, m=events[-1].m))
    write_all(paths.events, events)


@pytest.mark.parametrize("measured", [[{"baseline": QUICK, "mkdc-ds": SLOW}], [{"baseline": QUICK}], [{"baseline": QUICK}, {"mkdc-ds": SLOW}]])
def test_check_and_estimate_foretell_the_same_of_a_launch_with_variants(tmp_path: Path, measured: list[dict[str, float]]) -> None:
    for number, seconds in enumerate(measured):
        recorded(tmp_path / "logs", f"before-{number}", seconds)
    file = tmp_path / "study.toml"
    text = (Path(catalog.__file__).parents[1] / "experiments" / "stroke-small.toml").read_text()
    file.write_text(text.replace("epochs = 30 ", f"epochs = {EPOCHS} ").replace("epochs = 30\n", f"epochs = {EPOCHS}\n"))
    knobs = {"val_every_epochs": 0, "val_patches_per_volume": 0, "reconstruct_every_epochs": 0, "num_workers": 1}
    request = Request(experiment=str(file), logs=tmp_path / "logs", device="cpu", profile="conservative", settings=knobs)
    said, subject = expect(request), of_request(request, ())
    assert said is not None and said.experiment.seconds is not None, said
    found = times(subject.known, subject.question)
    for one, other in ((found.run, said.run), (found.experiment, said.experiment)):
        assert (one.value, one.low, one.high) == pytest.approx((other.seconds, other.low, other.high), rel=1e-6)
    slow = SLOW if any("mkdc-ds" in seconds for seconds in measured) else QUICK
    assert variants_of(subject.known.runs) == NAMES
    assert found.parts["train"] == pytest.approx(2 * (QUICK + slow) * RUN, rel=0.03)
