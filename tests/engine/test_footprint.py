"""What a budget is worked out from, taken from readings of a training and of its test phases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.config.experiment import from_table, resolve_profile
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split
from engine.config.profile import defaults
from engine.config.run_keys import runs_of
from engine.journals.events import Begin, Gpu, Memory, PhaseEnded, Sample, Use, Verdict, Worker
from engine.live import state as states
from engine.live.state import ExperimentState, new_experiment
from engine.machine.sampler import role_of, smaps
from engine.memory.budget import budget
from engine.memory.footprint import Footprint, Peak, footprint, knobs_now, sample_bytes, volume_bytes
from engine.process import descendants

GIB = 1 << 30


def state(samples: list[Sample], device: str = "cpu", **knobs: object) -> ExperimentState:
    experiment = from_table({"prepare": {"shape": [64, 64, 64]}}, "x")
    profile, _ = resolve_profile(experiment, "p", "", {}, knobs)  # type: ignore[arg-type]
    plan = Plan(name="x", experiment_name="x", experiment=experiment, profile=profile, runs=runs_of(experiment, (0,), 1))
    made = new_experiment("x", plan)
    begin = Begin(epochs=1, steps_per_epoch=10, device=device, parameters=1000)
    memory = Memory(allocated=1, reserved=2, peak_allocated=3, peak_reserved=5 * GIB) if device != "cpu" else None
    run = msgspec.structs.replace(made.runs[0], begin=begin, memory=memory)
    prepared = Prepared(subjects=(), splits=(Split(fold=0, train=tuple(range(148)), test=()),), data_hash="")
    return msgspec.structs.replace(made, runs=(run,), current=0, samples=tuple(samples), prepared=prepared)


def reading(at: float, uss: int, workers: int = 2, gpus: tuple[Gpu, ...] = ()) -> Sample:
    processes = [Worker(pid=10, role="trainer", rss=700, pss=400 << 20, uss=300 << 20)]
    processes += [Worker(pid=11 + i, rss=600, pss=(uss + 100) << 20, uss=uss << 20) for i in range(workers)]
    processes += [Worker(pid=99, role="other", rss=9 << 20, pss=5 << 20, uss=5 << 20)]
    return Sample(
        m=at, cores=2, cpu=1.0, ram_total=32 * GIB, ram_available=20 * GIB, shm_total=8 * GIB, shm_used=2 * GIB,
        workers=tuple(processes), gpus=gpus,
    )


def test_a_moments_reading_is_not_taken_for_a_worker_but_the_median_of_a_minute() -> None:
    known = footprint(state([reading(2.0 * i, 50 if i % 4 else 90) for i in range(40)], num_workers=2))
    assert known.loader is not None
    assert (known.loader.workers, known.loader.uss, known.loader.pss) == (2, 50 << 20, 150 << 20)
    assert known.loader.trainer == 400 << 20 and not known.loader.cached
    assert known.sample_bytes == 64**3 * 5 and known.samples == 148 and known.parameters == 1000
    # What the training has itself would be free without it.
    assert known.ram_free == 20 * GIB + ((400 + 2 * 150 + 5) << 20)
    assert known.shm_free == 6 * GIB + 2 * 2 * 64**3 * 5


def test_readings_with_another_number_of_workers_say_nothing() -> None:
    """While validation's workers are there, or before all have started."""
    assert footprint(state([reading(0, 50, workers=3)], num_workers=2)).loader is None
    mixed = [reading(0, 70), reading(2, 50, workers=3), reading(4, 60)]
    known = footprint(state(mixed, num_workers=2))
    assert known.loader is not None and known.loader.uss == 60 << 20
    assert footprint(state([])).loader is None and footprint(state([])).ram_free is None


def two_runs(at: float, second_workers: int = 2) -> Sample:
    """As the sampler tells two trainings side by side: a trainer with its own, then the other."""
    one = reading(at, 50)
    other = (
        Worker(pid=20, role="trainer", rss=700, pss=440 << 20, uss=340 << 20),
        *(Worker(pid=21 + i, rss=600, pss=190 << 20, uss=90 << 20) for i in range(second_workers)),
    )
    return msgspec.structs.replace(one, workers=(*one.workers, *other))


def side_by_side(samples: list[Sample], **knobs: object) -> ExperimentState:
    made = state(samples, **knobs)  # type: ignore[arg-type]
    return msgspec.structs.replace(made, plan=msgspec.structs.replace(made.plan, slots=2))


def test_of_two_runs_side_by_side_each_is_measured_and_has_its_share() -> None:
    known = footprint(side_by_side([two_runs(2.0 * i) for i in range(10)], num_workers=2))
    assert known.loader is not None, "measured here"
    assert (known.loader.workers, known.loader.uss, known.loader.trainer) == (2, 70 << 20, 420 << 20)
    both = (400 + 2 * 150 + 5 + 440 + 2 * 190) << 20
    assert known.shares == 2 and known.ram_free == (20 * GIB + both) // 2
    assert known.shm_free == (6 * GIB + 2 * 2 * 2 * 64**3 * 5) // 2


def test_while_one_of_two_validates_the_other_is_what_is_measured() -> None:
    known = footprint(side_by_side([two_runs(0), two_runs(2, second_workers=3)], num_workers=2))
    assert known.loader is not None and (known.loader.uss, known.loader.trainer) == (50 << 20, 400 << 20)


def test_two_on_one_gpu_share_what_others_leave_of_it_two_on_two_have_each_their_own() -> None:
    gpu = Gpu(index=0, memory_total=80 * GIB, memory_used=23 * GIB, own_memory=18 * GIB)
    made = side_by_side([msgspec.structs.replace(two_runs(0), gpus=(gpu,))], device="cuda:0", num_workers=2)
    known = footprint(made)
    assert known.vram_others == 5 * GIB and known.vram_total == 5 * GIB + 75 * GIB // 2
    apart = msgspec.structs.replace(made, plan=msgspec.structs.replace(made.plan, devices=("0", "1")))
    assert footprint(apart).vram_total == 80 * GIB


def test_peaks_of_phases_and_of_the_run_make_the_line() -> None:
    gpu = Gpu(index=0, memory_total=80 * GIB, memory_used=12 * GIB, own_memory=9 * GIB)

    def phase(batch: int, reserved: int, precision: str = "auto") -> PhaseEnded:
        knobs = defaults() | {"batch_size": batch, "precision": precision, "num_workers": 1}
        use = Use(vram_reserved=reserved, trainer_pss=1 * GIB, worker_pss=300 << 20, worker_uss=200 << 20)
        return PhaseEnded(phase=0, round=0, name="p", knobs=knobs, verdict=Verdict(kind="ok", text=""), use=use)

    phases = [phase(2, 9 * GIB), phase(2, 8 * GIB), phase(4, 99 * GIB, "fp32")]
    known = footprint(state([reading(0, 50, 0, (gpu,))], device="cuda:0", num_workers=4), phases)
    assert known.peaks == (Peak(batch=1, bytes=5 * GIB), Peak(batch=2, bytes=9 * GIB))
    assert (known.device, known.vram_total, known.vram_others) == ("cuda", 80 * GIB, 3 * GIB)
    assert known.loader is not None and (known.loader.workers, known.loader.uss) == (1, 200 << 20)
    assert budget(defaults() | {"batch_size": 3}, known).vram.bytes == pytest.approx(13 * GIB)


def test_a_profile_that_took_the_places_of_the_plans_counts() -> None:
    made = state([reading(0, 50, workers=1)], num_workers=2)
    run = made.runs[0]
    knobs = defaults() | {"num_workers": 1, "cache": "ram"}
    changed = msgspec.structs.replace(run, tested=(states.Tested(name="a", knobs={}), states.Tested(name="b", knobs=knobs)))
    made = msgspec.structs.replace(made, runs=(changed,))
    assert knobs_now(made)["num_workers"] == 1
    known = footprint(made)
    assert known.loader is not None and known.loader.cached


SCRIPT = """
import multiprocessing as mp, sys, time
def work(ready): ready.put(1); time.sleep(60)
if __name__ == "__main__":
    context = mp.get_context(sys.argv[1])
    ready = context.Queue()
    workers = [context.Process(target=work, args=(ready,), daemon=True) for _ in range(2)]
    for worker in workers: worker.start()
    for worker in workers: ready.get()
    print(*(worker.pid for worker in workers), flush=True)
    sys.stdin.readline()
    for worker in workers: worker.kill()
"""


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_pythons_own_helpers_are_no_workers(tmp_path: Path, context: str) -> None:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(file), context], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        workers = {int(word) for word in child.stdout.readline().split()}
        roles = {pid: role_of(pid, [child.pid]) for pid in descendants(child.pid)}
        assert {pid for pid, role in roles.items() if role == "worker"} == workers
        assert len(roles) - len(workers) == {"fork": 0, "spawn": 1, "forkserver": 2}[context]
        assert all(smaps(pid) for pid in workers)
        child.communicate("\n")


def test_what_ram_keeps_of_a_volume_is_all_of_it_however_small_the_patches() -> None:
    table = {
        "data": {"source": "sheets", "subjects": 4, "shape": [40, 40, 40]}, "prepare": {"shape": [0, 0, 0]},
        "patch": {"shape": [16, 16, 16]}, "loss": {"terms": {"surface_distance": {}}},
    }
    experiment = from_table(table, "x")
    profile, _ = resolve_profile(experiment, "p", "", {}, {})
    plan = Plan(name="x", experiment_name="x", experiment=experiment, profile=profile, runs=())
    known = Footprint(sample_bytes=sample_bytes(plan), volume_bytes=volume_bytes(plan), samples=100, ram_free=GIB)
    assert known.sample_bytes == 16**3 * (5 + 2) and known.volume_bytes == 40**3 * (2 + 1)
    more = budget(defaults() | {"cache": "ram"}, known).ram.bytes - budget(defaults(), known).ram.bytes
    assert more >= 2 * 100 * known.volume_bytes  # two workers, each in the end keeps all
