"""What if: what scales and what does not, ranges that hold their figure, and no claim where there is no basis."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import mean
from tempfile import mkdtemp

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from engine.config.run_keys import RunKey
from engine.diagnosis.consequences import Range
from engine.diagnosis.queueing import Workload
from engine.errors import UsageError
from engine.eta.costs import Cost
from engine.eta.forecast import forecast
from engine.whatif import hardware, hardware_table, remarks, wish
from engine.whatif.hardware import Gpu
from engine.whatif.known import Known, known_of
from engine.whatif.scaling import SAME, Quoted, Scaling, divided, quoted, scaling
from engine.whatif.what_if import Question, checked, core_demand, makespan, shape_of, times
from tests.benchmarks import cross_gpu
from tests.recordings import state_of, write_recording
from tests.tested import write_test

SHEET = hardware.gpus()


@cache
def recorded(kind: str, at: float = 1.5) -> Known:
    folder = Path(mkdtemp()) / kind
    write_recording(folder, kind, at)
    return known_of(state_of(folder), SHEET)


@pytest.fixture
def loader_bound() -> Known:
    """18 s a step, of which 15 wait for one worker, on an A100-80 SXM with 12 cores."""
    return recorded("arc")


@pytest.fixture
def compute_bound() -> Known:
    """0.52 s a step, nearly all of it on the GPU."""
    return recorded("compute")


def value(one: Range) -> float:
    assert one.value is not None
    return one.value


def holds(one: Range) -> bool:
    return one.low is not None and one.high is not None and one.low <= value(one) <= one.high


# ---------------------------------------------------------------- from GPU to GPU


def test_nnu_nets_published_times_are_foretold_within_seven_percent_and_the_range_holds() -> None:
    found = cross_gpu.told()
    assert len(found) == 240
    assert mean(one.error for one in found) <= 0.07
    assert mean(one.held for one in found) >= 0.85
    assert mean(one.error for one in cross_gpu.left_out()) <= 0.07, "fitted without the GPU that is foretold"


def test_no_claim_is_made_for_a_gpu_without_tensor_cores() -> None:
    gpus = cross_gpu.sheet()
    assert all("Titan Xp" not in (one.here, one.there) for one in cross_gpu.told())
    assert "no claim: nothing measured on a GPU without tensor cores" in scaling(gpus["Titan RTX"], gpus["Titan Xp"], "fp16").why


def test_a_range_is_wider_where_the_rule_was_not_seen() -> None:
    a100, t4, hopper = (hardware.named(name) for name in ("A100", "T4", "H100"))
    near, far = scaling(a100, t4, "fp16"), scaling(a100, hopper, "fp16")
    assert near.low == pytest.approx(value_of(near) / 1.2) and near.high == pytest.approx(value_of(near) / 0.8)
    assert far.low == pytest.approx(value_of(far) / 1.35) and far.high == pytest.approx(value_of(far) / 0.65)
    assert "unseen for ampere→hopper" in far.why
    full = scaling(a100, hardware.named("RTX 3090"), "fp32")
    assert full.high == pytest.approx(value_of(full) / 0.65), "the rule was checked in mixed precision only"


def value_of(one: Scaling) -> float:
    assert one.value is not None
    return one.value


@pytest.mark.parametrize(
    ("here", "there", "precision", "device", "why"),
    [
        ("M4 Max", "RTX 4090", "fp32", "mps", "no claim: nothing measured on tensor cores; run `steptop bench` there"),
        ("A100", "M4 Max", "fp16", "cuda", "no claim: nothing measured on MPS"),
        (None, "RTX 4090", "fp32", "cpu", "no claim: nothing measured on a GPU; run `steptop bench` there"),
        (None, "RTX 4090", "fp16", "cuda", "no claim: the GPU it ran on is not in the sheet"),
        ("A100", "T4", "bf16", "cuda", "no claim: T4 has no bf16 tensor cores; precision = fp16"),
        ("T4", "A100", "bf16", "cuda", "no claim: T4 has no bf16 tensor cores"),
        ("A100", "V100", "fp32", "cuda", "no claim: only one of the two has TF32"),
    ],
)
def test_where_there_is_no_basis_nothing_is_claimed(here: str | None, there: str, precision: str, device: str, why: str) -> None:
    found = scaling(hardware.named(here) if here else None, hardware.named(there), precision, device)  # type: ignore[arg-type]
    assert found.value is None
    assert found.why.startswith(why)


def gpu(bandwidth: float, tensor: float, generation: str = "ampere") -> Gpu:
    return Gpu(
        name=f"{bandwidth}/{tensor}", generation=generation, vram_gb=24, bandwidth_gb_s=bandwidth, fp32_tflops=tensor / 8,
        tensor_tflops=tensor, source="made up", as_of="2026-11",
    )


peaks = st.floats(50, 10_000)


@given(peaks, peaks, peaks, peaks, st.floats(1, 4))
def test_more_bandwidth_or_more_tensor_cores_are_never_slower(b: float, t: float, b2: float, t2: float, more: float) -> None:
    here = gpu(b, t)
    plain = scaling(here, gpu(b2, t2), "fp16")
    for better in (gpu(b2 * more, t2), gpu(b2, t2 * more)):
        found = scaling(here, better, "fp16")
        assert value_of(found) >= value_of(plain) * (1 - 1e-12)
        assert found.low <= value_of(found) <= found.high


@given(peaks, peaks, peaks, peaks)
def test_there_and_back_is_where_one_was(b: float, t: float, b2: float, t2: float) -> None:
    one, other = gpu(b, t), gpu(b2, t2)
    if one.name != other.name:
        assert value_of(scaling(one, other, "fp16")) * value_of(scaling(other, one, "fp16")) == pytest.approx(1)


@given(st.floats(1e-3, 1e9), st.floats(0.01, 1000), st.floats(1, 100))
def test_a_quoted_range_of_speed_ups_gives_a_range_of_times_the_right_way_round(seconds: float, low: float, wider: float) -> None:
    quick, slow = divided(seconds, low, low * wider)
    assert quick <= slow
    assert quick * low * wider == pytest.approx(seconds)
    assert slow * low == pytest.approx(seconds)


@pytest.mark.parametrize(("low", "high"), [(60, 40), (0, 3), (-2, 2)])
def test_a_speed_up_that_is_none_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="the smaller one first"):
        divided(634, low, high)


# ---------------------------------------------------------------- what scales and what does not


def test_a_faster_gpu_would_wait_for_the_same_loader(loader_bound: Known) -> None:
    row = hardware_table.row(loader_bound, Question(), hardware.named("H200"))
    assert value(row.speed) == pytest.approx(1.0, abs=0.1)
    assert row.why.startswith("it waits for the same loader: 1.0×")
    assert row.times.limit == "loader"


def test_a_faster_gpu_helps_where_computing_is_the_limit(compute_bound: Known) -> None:
    row = hardware_table.row(compute_bound, Question(), hardware.named("H100 SXM"))
    assert 1.5 < value(row.speed) < value_of(scaling(compute_bound.gpu, hardware.named("H100 SXM"), "fp16"))
    assert value(row.times.experiment) < value(times(compute_bound, Question()).experiment)


def test_only_what_the_gpu_does_is_divided(compute_bound: Known) -> None:
    """With half of computing on the GPU, one that takes no time leaves the other half."""
    host = msgspec.structs.replace(compute_bound, busy=0.5)
    assert host.workload is not None
    endless = Scaling(value=1e9, low=1e9, high=1e9)
    quick = value(times(host, Question(knobs={"num_workers": 16}), endless).step)
    assert quick >= 0.5 * host.workload.compute(1)
    assert quick < 0.6 * host.step.mean


def test_a_gpu_that_waits_for_its_instructions_gains_little_from_a_faster_one() -> None:
    """NVML: busy 20 % of a step that "computes" all the time. What is missing is the host's."""
    folder = Path(mkdtemp()) / "arc"
    write_recording(folder, "compute", 0.4)
    state = state_of(folder)
    idle = tuple(
        msgspec.structs.replace(one, gpus=tuple(msgspec.structs.replace(gpu, util=20.0) for gpu in one.gpus))
        for one in state.samples
    )
    known = known_of(msgspec.structs.replace(state, samples=idle), SHEET)
    assert known.busy == pytest.approx(0.2, abs=0.02)
    row = hardware_table.row(known, Question(), hardware.named("H100 SXM"))
    assert value(row.speed) < 1.15


def test_the_same_question_here_is_what_was_measured(compute_bound: Known, loader_bound: Known) -> None:
    for known in (compute_bound, loader_bound):
        assert value(times(known, Question()).step) == pytest.approx(known.step.mean)
        assert times(known, Question()).why == SAME.why


def test_without_spans_nothing_is_claimed_elsewhere(compute_bound: Known) -> None:
    silent = msgspec.structs.replace(compute_bound, workload=None, busy=None)
    assert times(silent, Question()).experiment.value is not None, "here it is as it was measured"
    row = hardware_table.row(silent, Question(), hardware.named("H200"))
    assert row.times.experiment.value is None
    assert row.why.startswith("no claim: its journal does not say where a step goes")
    assert row.money.text == "no time known"


def test_a_speed_up_at_one_batch_size_is_not_applied_to_another(compute_bound: Known) -> None:
    row = hardware_table.row(compute_bound, Question(knobs={"batch_size": 2}), hardware.named("B200"))
    assert row.times.experiment.value is None
    assert "measured at batch 1, and a speed-up at one batch size is not that at 2" in row.why
    both = msgspec.structs.replace(compute_bound, workload=msgspec.structs.replace(compute_bound.workload, batches=(1, 4)))
    between = hardware_table.row(both, Question(knobs={"batch_size": 2}), hardware.named("B200"))
    assert between.times.experiment.value is not None, "between two that were measured"


def test_another_precision_has_to_be_measured(compute_bound: Known) -> None:
    found = times(compute_bound, Question(knobs={"precision": "fp32"}))
    assert found.experiment.value is None
    assert "another precision computes or loads differently" in found.why


def test_a_stated_speed_up_holds_for_its_batch_size_alone(compute_bound: Known) -> None:
    stated = Quoted(gpu="H200", low=1.5, high=1.6, batch=1)
    row = hardware_table.row(compute_bound, Question(), hardware.named("H200"), stated=(stated,))
    assert row.why == "stated by you: 1.5 to 1.6×"
    assert holds(row.times.run)
    assert quoted(stated, 32).value is None


def test_the_same_training_measured_on_another_gpu_needs_no_model(compute_bound: Known) -> None:
    h200 = hardware.named("H200")
    step = Cost(0.2, 0.002, basis="measured here, 400 steps")
    twin = msgspec.structs.replace(compute_bound, name="on-h200", gpu=h200, device_name="NVIDIA H200", step=step)
    row = hardware_table.row(compute_bound, Question(), h200, others=(twin,))
    assert row.measured
    assert row.why == "measured on it: on-h200"
    assert value(row.times.step) == pytest.approx(0.2)


def test_what_a_journal_says_of_cpu_is_nothing_of_a_gpu() -> None:
    known = recorded("quickstart")
    assert known.device == "cpu"
    rows = hardware_table.table(known, Question(), SHEET)
    assert rows[0].known and rows[0].here
    assert not any(row.known for row in rows[1:])
    assert {row.why for row in rows[1:]} == {"no claim: nothing measured on a GPU; run `steptop bench` there"}
    assert "there are no GPUs to share" in times(known, Question(gpus=2)).why


def test_cores_of_the_other_machine_hold_the_loader_back(compute_bound: Known) -> None:
    few = times(compute_bound, Question(cores=1))
    assert value(few.step) > 1.5 * compute_bound.step.mean
    assert few.limit == "cores"
    assert holds(few.step)
    assert few.step.low is not None and few.step.low <= compute_bound.step.mean * 1.1, "whether loading computes was not measured"


def test_a_test_of_profiles_is_a_ground_too(tmp_path: Path) -> None:
    known = known_of(write_test(tmp_path / "arc-phases"), SHEET)
    assert len(known.runs) == 30, "a test trains nothing: the experiment's own runs are asked about"
    assert known.step.basis.startswith("measured in a test")
    assert known.batch == 1
    assert holds(times(known, Question()).experiment)
    assert value(times(known, Question(knobs={"num_workers": 4})).step) < 0.35 * known.step.mean


def test_nothing_measured_is_said_and_how_to(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "arc", 0.0)
    with pytest.raises(UsageError, match="`steptop bench arc-meshnet26 --data DIR` measures it"):
        known_of(state_of(tmp_path / "arc"), SHEET)


# ---------------------------------------------------------------- counts


def test_restarts_are_of_every_fold(loader_bound: Known) -> None:
    question = checked(loader_bound, Question(restarts=1))
    assert len(shape_of(loader_bound, question).runs) == 3
    assert "3 folds × 1 restart = 3 runs of 30" in remarks.remarks(loader_bound, question, times(loader_bound, question))


def test_the_rest_is_what_is_not_finished(compute_bound: Known) -> None:
    assert len(compute_bound.finished) == 1
    every, rest = times(compute_bound, Question()), times(compute_bound, Question(rest=True))
    assert value(rest.experiment) == pytest.approx(value(every.experiment) * 28.5 / 30, rel=0.01)


def test_the_rest_of_a_run_that_is_begun_is_counted_from_where_it_is() -> None:
    """As the forecast of that very moment has it."""
    folder = Path(mkdtemp()) / "arc"
    write_recording(folder, "compute", 0.5)
    state = msgspec.structs.replace(state_of(folder), supervisor_alive=True, trainer_alive=True)
    known = known_of(state, SHEET)
    question = Question(folds=(0,), restarts=1)
    rest = value(times(known, msgspec.structs.replace(question, rest=True)).experiment)
    left = forecast(state).run.seconds
    assert left is not None
    assert rest == pytest.approx(left, rel=0.03)
    assert rest < 0.6 * value(times(known, question).experiment)


def test_when_everything_is_finished_nothing_is_left(compute_bound: Known) -> None:
    done = msgspec.structs.replace(compute_bound, finished=compute_bound.runs)
    assert value(times(done, Question(rest=True)).experiment) == 0
    assert times(done, Question(rest=True)).why == "every run is finished"


def test_a_larger_batch_has_fewer_steps_and_validation_every_epoch_costs(compute_bound: Known) -> None:
    assert shape_of(compute_bound, Question(knobs={"batch_size": 2})).steps == {0: 74, 1: 75, 2: 75}
    often = times(compute_bound, Question(knobs={"val_every_epochs": 1}))
    assert value(often.run) > value(times(compute_bound, Question()).run)
    assert often.parts["validate"] > 4 * times(compute_bound, Question()).parts["validate"]
    said = remarks.remarks(compute_bound, Question(knobs={"batch_size": 2}), often)
    assert any("batch_size changes the optimisation" in text for text in said)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 80), st.integers(1, 400), st.integers(1, 3), st.integers(1, 12), st.integers(1, 6),
    st.sampled_from([g.name for g in SHEET if g.kind == "tensor cores"]),
)
def test_every_range_holds_its_figure_and_more_to_do_never_takes_less(
    epochs: int, steps: int, folds: int, restarts: int, gpus: int, name: str
) -> None:
    known = recorded("compute")
    question = Question(epochs=epochs, steps_per_epoch=steps, folds=tuple(range(folds)), restarts=restarts, gpus=gpus)
    ratio = scaling(known.gpu, hardware.named(name), known.precision, known.device)
    found = times(known, question, ratio)
    assert all(holds(one) for one in (found.step, found.epoch, found.run, found.experiment))
    assert value(found.run) <= value(found.experiment) * (1 + 1e-9)
    replace = msgspec.structs.replace
    for more in (
        replace(question, epochs=epochs + 1), replace(question, steps_per_epoch=steps + 1),
        replace(question, restarts=restarts + 1),
    ):
        assert value(times(known, more, ratio).experiment) >= value(found.experiment) * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.01, 5), st.floats(0.001, 5), st.floats(0, 1), st.integers(0, 8), st.integers(1, 32), st.floats(0.2, 8),
    st.floats(1, 3),
)
def test_a_faster_gpu_is_never_slower_whatever_the_loader_does(
    compute: float, load: float, busy: float, workers: int, cores: int, ratio: float, more: float
) -> None:
    plain = recorded("compute")
    workload = Workload(
        compute_per_sample=compute, batches=(1,), load_seconds=load, load_cpu_seconds=load, take_seconds=0.001, cores=cores
    )
    known = msgspec.structs.replace(
        plain, workload=workload, busy=busy, cores=cores, knobs=plain.knobs | {"num_workers": workers},
        step=Cost(compute + load, 0.01 * compute),
    )
    slow = times(known, Question(), Scaling(value=ratio, low=ratio / 1.2, high=ratio / 0.8))
    quick = times(known, Question(), Scaling(value=ratio * more, low=ratio * more / 1.2, high=ratio * more / 0.8))
    assert value(quick.step) <= value(slow.step) * (1 + 1e-9)
    assert holds(slow.step) and holds(quick.experiment)


# ---------------------------------------------------------------- side by side


def test_the_makespan_is_not_the_sum() -> None:
    assert makespan([3.0, 3.0, 3.0], 2) == 6
    assert makespan([3.0, 3.0, 3.0, 3.0], 2) == 6
    assert makespan([5.0, 1.0, 1.0, 1.0], 2) == 5
    assert makespan([2.0, 2.0], 1, gap=1.0) == 5
    assert makespan([2.0], 8) == 2
    assert makespan([], 2) == 0


@given(st.lists(st.floats(0, 1e6), max_size=30), st.integers(1, 10), st.floats(0, 100))
def test_more_gpus_never_make_it_longer_and_never_shorter_than_its_share(seconds: list[float], slots: int, gap: float) -> None:
    found = makespan(seconds, slots, gap=gap)
    assert found <= makespan(seconds, 1, gap=gap) * (1 + 1e-9) + 1e-9
    assert found >= max(seconds, default=0.0)
    assert found >= sum(seconds) / slots * (1 - 1e-9)


def test_cores_that_are_needed_grow_with_the_gpus(compute_bound: Known) -> None:
    one, two = core_demand(compute_bound, Question()), core_demand(compute_bound, Question(gpus=2))
    assert one is not None and two is not None
    assert two[0] == pytest.approx(2 * one[0])


def test_more_gpus_than_runs_stand_idle(compute_bound: Known) -> None:
    question = Question(gpus=8, restarts=1)
    said = remarks.remarks(compute_bound, question, times(compute_bound, question))
    assert any("there are only 3 runs: more GPUs than that stand idle" in text for text in said)


# ---------------------------------------------------------------- wishes


@pytest.mark.parametrize(("text", "what", "low", "high"), [("6h-8h", "epoch", 6, 8), ("run=6-8h", "run", 6, 8), ("experiment=1d-48h", "experiment", 24, 48)])
def test_a_wish_is_read(text: str, what: str, low: float, high: float) -> None:
    assert wish.parse(text) == wish.Wish(what=what, low=low * 3600, high=high * 3600)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["8h-6h", "6h", "soon", "6-8", "fold=6h-8h", "0h-8h"])
def test_a_wish_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        wish.parse(text)


@pytest.mark.parametrize("text", ["10m-15m", "run=2h-4h", "experiment=1d-2d"])
def test_what_is_granted_takes_as_long_as_wished(compute_bound: Known, text: str) -> None:
    wanted = wish.parse(text)
    found = wish.granted(compute_bound, Question(), wanted)
    assert found.least is not None and found.most is not None and found.least <= found.most
    replace = msgspec.structs.replace
    for count, inside in ((found.least, True), (found.most, True), (found.most + 1, False)):
        took = value(getattr(times(compute_bound, replace(Question(), **{found.turned: count})), wanted.what))
        assert (wanted.low <= took <= wanted.high) == inside


def test_a_wish_that_nothing_grants_says_why(loader_bound: Known) -> None:
    found = wish.granted(loader_bound, Question(), wish.parse("1m-2m"))
    assert found.least is not None, "a few steps"
    none = wish.granted(loader_bound, Question(), wish.parse("experiment=1h-2h"))
    assert none.least is None
    assert "not even 1 restart" in none.text


# ---------------------------------------------------------------- bad questions


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(epochs=0), "epochs 0: it is 1 or more"),
        (Question(gpus=-1), "gpus -1"),
        (Question(folds=(7,)), "no fold 7: the experiment has folds 0 to 2"),
        (Question(knobs={"workers": 3}), "no knob called 'workers'"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(compute_bound: Known, question: Question, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        checked(compute_bound, question)


def test_memory_is_told_for_every_gpu(compute_bound: Known) -> None:
    """61 GiB were reserved: an 80 GB card holds it, a 24 GB card does not."""
    by_name: Callable[[str], str] = lambda name: hardware_table.row(compute_bound, Question(), hardware.named(name)).memory  # noqa: E731
    assert by_name("H100 SXM") == "fits"
    assert by_name("RTX 4090") == "over"
    assert by_name("M4 Max") == "unknown"


def test_cost_is_hours_times_price_low_by_low_and_high_by_high(compute_bound: Known) -> None:
    row = hardware_table.row(compute_bound, Question(gpus=2), hardware.named("H200"))
    price = hardware.named("H200").price
    assert price is not None and row.money.low is not None and row.money.high is not None
    assert row.times.experiment.low is not None and row.times.experiment.high is not None
    assert row.money.low == pytest.approx(2 * row.times.experiment.low / 3600 * price.low)
    assert row.money.high == pytest.approx(2 * row.times.experiment.high / 3600 * price.high)
    assert price.as_of in row.money.text and price.source in row.money.text
    assert hardware_table.row(compute_bound, Question(), hardware.named("A10G")).money.low is None


def test_rows_that_fit_come_first_and_the_cheaper_of_two_alike(loader_bound: Known) -> None:
    rows = hardware_table.table(loader_bound, Question(), SHEET)
    assert rows[0].here
    known = [row for row in rows[1:] if row.known]
    assert [row.memory == "over" for row in known] == sorted(row.memory == "over" for row in known)
    fits = [row.money.low for row in known if row.memory == "fits" and row.money.low is not None]
    assert fits == sorted(fits), "all wait for the same loader"
    assert not any(row.known for row in rows[1 + len(known) :])


def test_runs_may_be_of_another_shape_than_folds_times_restarts(compute_bound: Known) -> None:
    odd = msgspec.structs.replace(compute_bound, runs=(RunKey(fold=0, restart=0, seed=1), RunKey(fold=1, restart=3, seed=4)))
    assert len(shape_of(odd, Question()).runs) == 2
    assert value(times(odd, Question()).experiment) == pytest.approx(2 * value(times(odd, Question()).run), rel=0.02)
