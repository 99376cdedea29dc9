"""What the planning documents got wrong about other hardware and more GPUs, as tests."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.diagnosis.queueing import Workload
from engine.eta.costs import Cost
from engine.journals.events import Spans
from engine.memory.footprint import Footprint
from engine.whatif import hardware, hardware_table, options, remarks, session_limits, wish
from engine.whatif.known import Known, known_of
from engine.whatif.options import Option
from engine.whatif.scaling import Quoted, Scaling, divided, quoted, scaling
from engine.whatif.what_if import Question, core_demand, shape_of, times
from tests.recordings import ARC, Scene, plan_for, prepared_for, state_of, write_recording

HOUR, DAY = 3600.0, 86400.0
SHEET = hardware.gpus()


@pytest.fixture(scope="module")
def arc(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """223 subjects, 3 folds × 10 restarts × 50 epochs, batch 1: a quarter of the first run is recorded."""
    folder = tmp_path_factory.mktemp("logs") / "arc"
    write_recording(folder, "arc", 0.25)
    return known_of(state_of(folder), SHEET)


def on_mps(known: Known) -> Known:
    """The laptop of 000: 30 s a step, all of it computing."""
    workload = Workload(compute_per_sample=30.0, batches=(1,), load_seconds=0.5, cores=10)
    return msgspec.structs.replace(
        known, device="mps", device_name="Apple M3 Max", gpu=hardware.find("M3 Max"), precision="fp32", cores=10,
        step=Cost(30.0, 0.5, basis="measured here, 148 steps"), workload=workload, busy=1.0,
    )


# ---------------------------------------------------------------- 000


def test_000_a_laptops_steps_say_nothing_of_a_4090(arc: Known) -> None:
    """Its table gives a 4090 3 to 6 s for 30 s on MPS, "est.": nothing had been measured on CUDA."""
    known = on_mps(arc)
    for name in ("RTX 4090", "A100-80 SXM"):
        row = hardware_table.row(known, Question(), hardware.named(name))
        assert row.times.experiment.value is None
        assert row.why == "no claim: nothing measured on tensor cores; run `steptop bench` there"
        assert row.money.low is None


def test_000_62_hours_and_77_days_and_what_they_left_out(arc: Known) -> None:
    known = on_mps(arc)
    found = times(known, Question())
    steps = 148 * 30.0 * 50
    assert steps / HOUR == pytest.approx(61.7, abs=0.05)
    assert found.run.value is not None and found.experiment.value is not None and found.run.low is not None
    assert found.run.value > steps, "validation of 75 test subjects, checkpoints and start come on top"
    assert found.run.low <= 63.6 * HOUR <= (found.run.high or 0), "its first run"
    assert found.run.low <= 69.2 * HOUR <= (found.run.high or 0), "its slowest"
    assert found.experiment.value / DAY == pytest.approx(77, rel=0.1)


def test_000_its_options_with_what_one_gets_and_loses(arc: Known) -> None:
    known = on_mps(arc)
    found: tuple[Option, ...] = options.options(known, Question(), lambda q: hardware_table.row(known, q, known.gpu))
    assert [(one.title, one.runs) for one in found] == [("One run", 1), ("All runs", 30), ("Fewer restarts", 9)]
    one, every, reduced = found
    days = [one.timeline.value or 0, every.timeline.value or 0, reduced.timeline.value or 0]
    assert [round(day / DAY) for day in days] == [3, 78, 23], "77 days, and evaluation"
    assert any("no standard deviation" in text for text in one.loses)
    assert any("cannot be compared with the published 0.876 (0.016)" in text for text in one.loses)
    assert any("3 folds × 10 restarts = 30 runs: mean ± std" in text for text in every.gets)
    assert any("1.8 times less certain than of 10 restarts" in text for text in reduced.loses)


def test_000_restarts_1_is_three_runs_and_says_so(arc: Known) -> None:
    question = Question(restarts=1, epochs=1)
    assert len(shape_of(arc, question).runs) == 3
    assert "3 folds × 1 restart = 3 runs of 30" in remarks.remarks(arc, question, times(arc, question))


# ---------------------------------------------------------------- 001


def test_001_steps_an_epoch_for_the_hours_that_are_wished(arc: Known) -> None:
    """4,000 steps of 18 s are 20 h an epoch. It wished 6 to 8."""
    question = Question(steps_per_epoch=4000, epochs=32)
    found = times(arc, question)
    assert (found.epoch.value or 0) / HOUR == pytest.approx(20, rel=0.05)
    assert any("an epoch of 20 h is long" in text for text in remarks.remarks(arc, question, found))
    granted = wish.granted(arc, question, wish.parse("6h-8h"))
    assert granted.least is not None and granted.most is not None
    assert granted.least == pytest.approx(6 * HOUR / 18.06, rel=0.05)
    assert granted.most == pytest.approx(8 * HOUR / 18.06, rel=0.05)


# ---------------------------------------------------------------- 003


def ablation(folder: Path, cores: int) -> Known:
    """569 volumes to learn from, ten patches each, batch 8: 711 steps of 0.42 s; four workers that read whole volumes.
    Every core-second of loading was measured."""
    scene = Scene(
        experiment_name="stroke-ablation", experiment=msgspec.structs.replace(ARC.experiment, epochs=100),
        knobs={"num_workers": 4}, profile="conservative", subjects=30, test=(10, 10, 10),
        recipe=ARC.recipe, machine=ARC.machine, cv=0.04, device="0",
    )
    plan = plan_for(scene, "stroke-ablation")
    write_recording(folder, "compute", 0.3)
    known = known_of(state_of(folder), SHEET)
    workload = Workload(
        compute_per_sample=0.42 / 8, batches=(8,), load_seconds=0.21, load_cpu_seconds=0.21, take_seconds=0.004, cores=cores
    )
    knobs = plan.profile.knobs | {"batch_size": 8, "num_workers": 4}
    assert prepared_for(scene).subjects
    return msgspec.structs.replace(
        known, plan=plan, knobs=knobs, workload=workload, cores=cores, busy=1.0, precision="fp16",
        step=Cost(0.424, 0.004, basis="measured here, 7,110 steps"),
    )


def test_003_two_gpus_halve_the_makespan_if_the_loaders_cores_allow(tmp_path: Path) -> None:
    """"2 GPUs in parallel: 100 h instead of 200." Each loader keeps four cores busy: eight are needed."""
    enough, few = ablation(tmp_path / "a", 12), ablation(tmp_path / "b", 5)
    demand = core_demand(enough, Question(gpus=2))
    assert demand is not None and 7.5 < demand[0] < 8.5
    gains = {}
    for name, known in (("enough", enough), ("few", few)):
        one, two = times(known, Question(restarts=2)), times(known, Question(restarts=2, gpus=2))
        assert one.experiment.value is not None and two.experiment.value is not None
        gains[name] = one.experiment.value / two.experiment.value
    assert gains["enough"] == pytest.approx(2.0, abs=0.05)
    assert gains["few"] < 1.35
    asked = Question(restarts=2, gpus=2)
    said = " ".join(remarks.remarks(enough, asked, times(enough, asked)))
    assert "2 GPUs side by side: 2.0×; their loaders and trainers need" in said and "of 12 cores" in said
    said = " ".join(remarks.remarks(few, asked, times(few, asked)))
    assert "not 2.0×; their loaders and trainers would need" in said and "and there are 5" in said


# ---------------------------------------------------------------- 004


def test_004_a_speed_up_of_40_to_60_makes_634_hours_10_6_to_15_9() -> None:
    """The document has 6 to 10 h, which would need 63 to 106 times."""
    low, high = divided(634, 40, 60)
    assert (round(low, 1), round(high, 1)) == (10.6, 15.8) or (round(low, 1), round(high, 2)) == (10.6, 15.85)
    assert 634 / 10 > 60 and 634 / 6 > 100


def test_004_a_t4s_speed_up_at_batch_32_is_not_that_at_256() -> None:
    """63 over 20 steps a second at batch 32 is 3.15 times; at 256 samples it was 19.2 times as many."""
    stated = Quoted(gpu="T4", low=63 / 20, high=63 / 20, batch=32)
    assert quoted(stated, 32).value == pytest.approx(3.15)
    other = quoted(stated, 256)
    assert other.value is None
    assert other.why == "no claim: 3.15× was stated for batch 32, and this is batch 256; run `steptop bench` there"


def test_004_the_stated_speed_up_on_a_whole_table(arc: Known) -> None:
    """634 h on a CPU, of which nothing is loading: an A100 at 40 to 60 times, for its batch size alone."""
    workload = Workload(compute_per_sample=1.94 / 128, batches=(128,), load_seconds=1e-6, cores=8)
    cpu = msgspec.structs.replace(
        arc, device="cpu", device_name="CPU", gpu=None, precision="fp32", cores=8, workload=workload, busy=1.0,
        footprint=Footprint(), knobs=arc.knobs | {"batch_size": 128, "num_workers": 4}, step=Cost(1.94, 1e-4),
    )
    question = Question(steps_per_epoch=7840, epochs=150, folds=(0,), restarts=1)
    here = times(cpu, question)
    assert (here.run.value or 0) / HOUR == pytest.approx(634, rel=0.01)
    a100 = hardware.named("A100-40 SXM")
    none = hardware_table.row(cpu, question, a100)
    assert none.why == "no claim: nothing measured on a GPU; run `steptop bench` there"
    stated = (Quoted(gpu=a100.name, low=40, high=60, batch=128),)
    row = hardware_table.row(cpu, question, a100, stated=stated)
    assert row.times.run.low is not None and row.times.run.high is not None
    assert 9.0 < row.times.run.low / HOUR < 10.6 + 0.1
    assert row.times.run.high / HOUR > 15.8
    pro = session_limits.chosen("Colab Pro+", session_limits.sessions())
    assert session_limits.fitting(pro, a100.name, row.times.run, row.times.experiment).run == "fits"
    wrong = (Quoted(gpu=a100.name, low=40, high=60, batch=256),)
    assert hardware_table.row(cpu, question, a100, stated=wrong).times.run.value is None


def test_004_what_fits_into_a_session_is_judged_by_the_longest_it_may_take(arc: Known) -> None:
    """It ticked 3.5 to 5 h as fitting sessions of 4 to 12 h."""
    hours = (2.9 * HOUR, 3.8 * HOUR, 4.9 * HOUR)
    free = session_limits.chosen("Colab free", session_limits.sessions())
    range_ = times(arc, Question()).run
    medium = type(range_)(hours[1], hours[0], hours[2], "")
    assert session_limits.fitting(free, "T4", medium, medium).run == "may not fit"


def test_the_rule_of_000_alone_is_not_used() -> None:
    """Bandwidth alone made an A100 twice a 4090; tensor peaks alone make it 1.9 times. Both count."""
    found = scaling(hardware.named("RTX 4090"), hardware.named("A100-80 SXM"), "fp16")
    assert isinstance(found, Scaling) and found.value is not None
    assert found.value == pytest.approx((2039 / 1008) ** 0.75 * (312 / 165) ** 0.25)


def test_spans_of_a_recording_are_those_of_its_recipe(arc: Known) -> None:
    """The ground of all of the above: what waits and what computes."""
    spans: Spans = ARC.recipe.spans
    computing = spans.h2d + spans.forward + spans.loss + spans.backward + spans.optimizer
    at_work = computing - spans.h2d
    assert arc.busy == pytest.approx(at_work / (arc.step.mean - spans.data), rel=0.12)
