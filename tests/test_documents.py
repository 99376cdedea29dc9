"""What the documents guessed, done for real at a hundredth of its time, and what steptop says of it.

Real loader processes, real waiting; only the time scale is shrunk. The trainer is tests/slow_trainer.py.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.experiment import from_table, resolve_profile
from engine.config.hashes import training_hash
from engine.config.prepared import Prepared, Split
from engine.config.profile import Profile, defaults
from engine.diagnosis.bottleneck import Bottleneck, bottleneck
from engine.diagnosis.consequences import consequences
from engine.errors import UsageError
from engine.eta.validation import mismatch, mismatches, validation_batches
from engine.journals.events import EpochEnded, Sample, Worker
from engine.journals.journal import read
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.memory.budget import budget
from engine.memory.footprint import Estimate, Footprint, Peak
from engine.paths import write_json
from engine.report.build import report_of
from engine.report.render_markdown import render
from engine.status import status
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


@pytest.mark.slow
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


def own_trainer(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, name: str, profile: Profile, folds: int = 1, **document: Any
) -> Path:
    """tests/document_trainer.py, with a loop and a clock of its own, under a supervisor; its folder. Of several folds
    all at once."""
    monkeypatch.setenv("DOCUMENT", json.dumps(document))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    plan = fake_plan(name, folds=folds, restarts=1, slots=folds)
    experiment = msgspec.structs.replace(plan.experiment, command=(sys.executable, "-m", "tests.document_trainer"))
    hash_ = training_hash(experiment, profile)
    return lab.launch(
        msgspec.structs.replace(plan, experiment=experiment, profile=profile, training_hash=hash_)
    ).folder


def test_001_an_epoch_is_as_long_as_itself_and_not_as_all_before_it(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """97, 185, 271 s were read as durations; they were times since the start, in its log and in what it told steptop."""
    profile = Profile(name="test", knobs=defaults())
    folder = own_trainer(lab, monkeypatch, "times", profile, epochs=[0.97, 0.88, 0.86])
    watch = Watch(folder)
    wait_until(lambda: watch.quick().ended, 60, "its end")
    state, run = watch.poll(), watch.paths.run(0, 0)
    printed = [float(value) for value in re.findall(r"time: ([\d.]+) s", run.console.read_text())]
    assert len(printed) == 3
    own = [after - before for before, after in zip([0.0, *printed], printed, strict=False)]
    wrote = [record.seconds for record in read(run.segment(1)) if isinstance(record, EpochEnded)]
    assert wrote == pytest.approx(printed, abs=0.002), "it writes what it prints"

    said = [sentence.text for sentence in state.runs[0].sentences]
    paces = [float(found[1]) for text in said if (found := re.match(r"epoch \d done: ([\d.]+) s/step", text))]
    assert [20 * pace for pace in paces] == pytest.approx(own, rel=0.03)
    assert 20 * (status(state).step_seconds or 0.0) == pytest.approx(own[-1], rel=0.15)

    report = render(report_of(state))
    rows = [line.split(" | ") for line in report.splitlines() if re.match(r"\| [123](\[|[ ^])", line)]
    told = [number.match(row[2]) for number in (re.compile(r"([\d.]+) (ms|s)"),) for row in rows if len(row) > 2]
    seconds = [float(one[1]) / (1000 if one[2] == "ms" else 1) for one in told if one]
    assert seconds[:3] == pytest.approx(own, rel=0.03), rows
    assert "they look cumulative" in report.lower()


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


def test_003_a_validation_of_another_length_is_called_out(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its author counted 22 batches of 16 samples, where 141 volumes held out and 20 patches of each make 177."""
    knobs = defaults() | {"val_patches_per_volume": 20, "val_batch_size": 16}
    folder = own_trainer(lab, monkeypatch, "patches", Profile(name="test", knobs=knobs), validate=22, batch=16)
    watch = Watch(folder)
    split = Split(fold=0, train=tuple(range(569)), test=tuple(range(569, 710)))
    write_json(watch.paths.data, Prepared(subjects=(), splits=(split,), data_hash="x"))

    wait_until(lambda: (run := watch.poll().run) is not None and run.activity == "validate", 60, "validation")
    state = watch.poll()
    wrong = "validation goes through 352 samples where 141 volumes × 20 patches make 2,820"
    assert mismatch(state) == wrong
    assert wrong in bottleneck(state).evidence
    assert wrong in render(report_of(state))
    right = msgspec.structs.replace(state.plan.profile, knobs=knobs | {"val_patches_per_volume": 0})
    plan = msgspec.structs.replace(state.plan, profile=right)
    assert "16" in mismatch(msgspec.structs.replace(state, plan=plan)), "whole volumes are another number again"


def test_003_a_validation_of_the_right_length_is_not(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = defaults() | {"val_patches_per_volume": 16, "val_batch_size": 16}
    folder = own_trainer(lab, monkeypatch, "patches", Profile(name="test", knobs=knobs), validate=22, batch=16)
    watch = Watch(folder)
    split = Split(fold=0, train=tuple(range(88)), test=tuple(range(88, 110)))
    write_json(watch.paths.data, Prepared(subjects=(), splits=(split,), data_hash="x"))
    wait_until(lambda: (run := watch.poll().run) is not None and run.activity == "validate", 60, "validation")
    state = watch.poll()
    assert state.run is not None and state.run.activity_total == 352
    assert mismatch(state) == ""


def test_003_of_folds_side_by_side_every_one_that_counts_otherwise_than_its_data_is_called_out(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of training, samples of validation, volumes of reconstruction: of the fold that is not shown too."""
    knobs = defaults() | {"val_patches_per_volume": 16, "batch_size": 1}
    profile = Profile(name="test", knobs=knobs)
    folder = own_trainer(lab, monkeypatch, "two", profile, folds=2, validate=22, batch=16, volumes=22)
    watch = Watch(folder)
    splits = (
        Split(fold=0, train=tuple(range(60)), test=tuple(range(60, 101))),
        Split(fold=1, train=tuple(range(60)), test=tuple(range(60, 82))),
    )
    write_json(watch.paths.data, Prepared(subjects=(), splits=splits, data_hash="x"))
    wait_until(lambda: [run.activity for run in watch.poll().runs] == ["reconstruct"] * 2, 60, "reconstruction")
    state = watch.poll()
    of_validation = "validation goes through 352 samples where 41 volumes × 16 patches make 656"
    of_volumes = "reconstruction goes through 22 cases where 41 are held out"
    assert [one.text for one in state.sentences if one.level == "warn"] == [
        f"fold 0 restart 0: {of_validation}",
        f"fold 0 restart 0: {of_volumes}",
    ]
    assert mismatches(state, state.runs[1]) == ()
    told = render(report_of(state))
    assert f"{of_validation} (fold 0 restart 0)" in told and f"{of_volumes} (fold 0 restart 0)" in told

    halved = msgspec.structs.replace(splits[1], train=tuple(range(61)))
    other = msgspec.structs.replace(state, prepared=Prepared(subjects=(), splits=(splits[0], halved), data_hash="x"))
    assert mismatches(other, state.runs[1]) == ("an epoch has 60 steps where 61 samples in batches of 1 make 61",)
