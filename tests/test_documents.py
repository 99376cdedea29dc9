"""What the documents guessed, done for real at a hundredth of its time, and what steptop says of it.

Real loader processes, real waiting; only the time scale is shrunk. The trainer is tests/slow_trainer.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.bottleneck import Bottleneck, bottleneck
from engine.budget import budget
from engine.consequences import consequences
from engine.errors import UsageError
from engine.events import EpochEnded, Sample, Steps, Worker
from engine.experiment import Plan, Prepared, Split, from_table, resolve_profile, runs_of, training_hash
from engine.footprint import Estimate, Footprint, Peak
from engine.journal import read
from engine.profile import Profile, defaults
from engine.state import ExperimentState
from engine.validation import mismatch, validation_batches
from engine.watch import Watch
from tests.conftest import Laboratory, fake_plan, wait_until

GIB = 1 << 30
# Document 002: 16 s to load a sample, 1.5 s to compute a step, 12 cores, 7 GB a worker. Here 160 ms and 15 ms.
ITEM, COMPUTE = 0.16, 0.015


def train(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, slow: dict[str, Any], steps: int = 24, **knobs: Any
) -> ExperimentState:
    """The state once so many steps are done, on a machine of 12 cores as far as advice goes."""
    monkeypatch.setenv("SLOW", json.dumps(slow))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    name = "-".join(["slow", *(f"{value}" for value in knobs.values())])
    plan = fake_plan(name, folds=1, restarts=1)
    experiment = msgspec.structs.replace(plan.experiment, command=(sys.executable, "-m", "tests.slow_trainer"))
    profile = Profile(name="test", knobs=defaults() | knobs)
    paths = lab.launch(msgspec.structs.replace(plan, experiment=experiment, profile=profile))
    watch = Watch(paths.folder)

    def done() -> bool:
        state = watch.poll()
        return state.run is not None and state.run.step >= steps

    wait_until(done, 60, f"{steps} steps: {paths.run(0, 0).console.read_text()[-500:] if paths.run(0, 0).console.exists() else ''}")
    state = watch.poll()
    samples = Sample(
        cores=12, cpu=1.0, ram_total=170 * GIB, ram_available=150 * GIB, shm_total=80 * GIB,
        workers=(Worker(pid=1, role="trainer", pss=2 * GIB, uss=2 * GIB), *(Worker(pid=2 + i, pss=7 * GIB, uss=7 * GIB) for i in range(knobs["num_workers"]))),
    )
    return msgspec.structs.replace(state, samples=(samples,))


def pace(state: ExperimentState, skip: int = 6) -> float:
    """Samples per second after the first steps."""
    assert state.run is not None
    lines = [line for line in state.run.recent if line.step > skip]
    return sum(line.samples for line in lines) / sum(line.seconds for line in lines)


# ---------------------------------------------------------------- 002


def test_002_the_loader_is_the_limit_and_not_the_batch(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    state = train(lab, monkeypatch, {"item": ITEM, "compute": COMPUTE}, num_workers=1, prefetch_factor=1, batch_size=1)
    limit: Bottleneck = bottleneck(state)
    assert limit.kind == "loader"
    assert limit.headline.startswith("The loader is the limit: the GPU waits 1")
    assert any("batch_size 1→2: ×1.0 the samples/s" in said for said in limit.useless), limit.useless
    assert any("faster GPU: ×1.0" in said for said in limit.useless), limit.useless
    assert limit.change is not None
    assert (limit.change.knob, limit.change.before, limit.change.after) == ("num_workers", 1, 4)
    assert limit.change.gain_low <= 4.0 <= limit.change.gain_high * 1.02
    assert "30" in limit.change.memory, "2 GiB of the trainer and 4 × 7 GiB of workers"


def test_002_what_was_promised_and_what_came(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the batch was to be twice as fast. Four workers were to bring two to three times."""
    slow = {"item": ITEM, "compute": COMPUTE}
    one = train(lab, monkeypatch, slow, num_workers=1, prefetch_factor=1, batch_size=1)
    twice = train(lab, monkeypatch, slow, 14, num_workers=1, prefetch_factor=1, batch_size=2)
    four = train(lab, monkeypatch, slow, 40, num_workers=4, prefetch_factor=1, batch_size=1)
    assert pace(twice) / pace(one) == pytest.approx(1.0, abs=0.12)
    assert pace(four, 8) / pace(one) == pytest.approx(4.0, rel=0.15)
    foretold = consequences(one, {"num_workers": 4})
    assert foretold.samples_per_second.low is not None
    assert foretold.samples_per_second.high is not None
    assert foretold.samples_per_second.low * 0.95 <= pace(four, 8) <= foretold.samples_per_second.high * 1.05
    assert consequences(one, {"batch_size": 2}).samples_per_second.value == pytest.approx(pace(one), rel=0.15)


def test_002_a_larger_batch_is_not_paid_for_with_the_size_of_its_input() -> None:
    """77 of 80 GB at batch 1, and "+5.3 MB" for batch 2: that was the input alone."""
    known = Footprint(
        sample_bytes=5_300_000, device="cuda", parameters=33_671_604, vram_total=80 * GIB,
        peaks=(Peak(batch=1, bytes=71 * GIB),),
    )
    vram = budget(defaults() | {"batch_size": 2}, known).vram
    assert vram.verdict == "over"
    assert vram.bytes > 110 * GIB
    assert "activations" in vram.sentence
    fitted = Footprint(
        sample_bytes=5_300_000, device="cuda", parameters=33_671_604, vram_total=80 * GIB,
        peaks=(Peak(batch=1, bytes=20 * GIB), Peak(batch=2, bytes=38 * GIB)),
    )
    assert budget(defaults() | {"batch_size": 4}, fitted).vram.bytes == pytest.approx(74 * GIB, rel=0.06)
    assert Estimate(batch=1, activations=9 * GIB).total == 9 * GIB


# ---------------------------------------------------------------- 001


def test_001_an_epoch_is_as_long_as_itself_and_not_as_all_before_it(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """97, 185, 271 s were read as durations; they were times since the start."""
    slow = {"item": 0.01, "compute": 0.005, "epochs": 3}
    state = train(lab, monkeypatch, slow, 190, num_workers=1, batch_size=1)
    run = Watch(Path(state.folder)).paths.run(0, 0)
    wait_until(lambda: len([r for r in read(run.segment(1)) if isinstance(r, EpochEnded)]) == 3, what="three epochs")
    records = list(read(run.segment(1)))
    epochs = [record for record in records if isinstance(record, EpochEnded)]
    for epoch in epochs:
        steps = sum(line.seconds for line in records if isinstance(line, Steps) and line.epoch == epoch.epoch)
        assert epoch.seconds == pytest.approx(steps, rel=0.25)
    assert max(e.seconds for e in epochs[1:]) < 1.6 * min(e.seconds for e in epochs)
    said = [sentence.text for sentence in Watch(Path(state.folder)).poll().runs[0].sentences]
    assert sum("epoch" in text and "s/step" in text for text in said) == 3


# ---------------------------------------------------------------- 003


def test_003_the_batch_is_locked_and_says_why() -> None:
    table = {
        "locks": {"batch_size": {"value": 8, "reason": "deep supervision needs frequent small-batch updates"}},
        "runs": {"folds": 5, "restarts": 1},
    }
    experiment = from_table(table, "stroke.toml")
    with pytest.raises(UsageError, match="deep supervision needs frequent small-batch updates"):
        resolve_profile(experiment, "moderate", "", {}, {"batch_size": 16})
    _, overridden = resolve_profile(experiment, "moderate", "", {}, {"batch_size": 16}, override_locks=True)
    assert overridden == {"batch_size": "deep supervision needs frequent small-batch updates"}


@pytest.mark.parametrize(("patches", "batch", "expected"), [(100, 8, 1763), (20, 16, 177)])
def test_003_validation_batches_come_from_the_data(patches: int, batch: int, expected: int) -> None:
    """141 volumes held out. The document had 1,763 batches before, and expected 22 of what are 177."""
    profile = Profile(name="", knobs=defaults() | {"val_patches_per_volume": patches, "val_batch_size": batch})
    assert validation_batches(141, profile) == expected


def test_003_a_validation_of_another_length_is_called_out(lab: Laboratory) -> None:
    plan: Plan = fake_plan(folds=1, restarts=1)
    profile = Profile(name="", knobs=defaults() | {"val_patches_per_volume": 20, "val_batch_size": 16})
    plan = msgspec.structs.replace(plan, profile=profile, runs=runs_of(plan.experiment), training_hash=training_hash(plan.experiment, profile))
    paths = lab.launch(plan)
    wait_until(lambda: Watch(paths.folder).poll().ended, 60, "its end")
    state = Watch(paths.folder).poll()
    split = Split(fold=0, train=tuple(range(569)), test=tuple(range(569, 710)))
    held_out = Prepared(subjects=(), splits=(split,), data_hash="x")
    run = msgspec.structs.replace(state.runs[0], activity="validate", activity_done=3, activity_total=14_100)
    state = msgspec.structs.replace(state, prepared=held_out, runs=(run,), current=0)
    assert mismatch(state) == "validation goes through 14,100 samples where 141 volumes × 20 patches make 2,820"
    right = msgspec.structs.replace(run, activity_total=2820)
    assert mismatch(msgspec.structs.replace(state, runs=(right,))) == ""
