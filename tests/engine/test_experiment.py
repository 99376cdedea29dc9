"""Experiments: files checked in every field, runs in order, locks with reasons, identity by configuration."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine.config import catalog
from engine.config.experiment import Experiment, from_table, load, resolve_profile
from engine.config.hashes import training_hash
from engine.config.profile import KNOBS
from engine.config.run_keys import runs_of
from engine.config.tables import Model
from engine.errors import UsageError

LOCKED = {"locks": {"batch_size": {"value": 8, "reason": "deep supervision needs small batches"}}}


def resolved(experiment: Experiment, chosen: dict, settings: dict, override: bool = False):  # type: ignore[no-untyped-def, type-arg]
    return resolve_profile(experiment, "p", "", chosen, settings, override)


def test_every_built_in_experiment_loads() -> None:
    for entry in catalog.experiments().values():
        assert not entry.problem, entry.problem
        assert entry.title


def test_runs_come_fold_by_fold_with_the_same_seeds_in_every_fold() -> None:
    runs = runs_of(from_table({}, "x"))
    assert len(runs) == 30
    assert [(run.fold, run.restart, run.seed) for run in runs[:2]] == [(0, 0, 42), (0, 1, 43)]
    assert [run.seed for run in runs[10:20]] == [run.seed for run in runs[:10]]


def test_some_folds_and_restarts_can_be_asked_for() -> None:
    experiment = from_table({}, "x")
    assert [(r.fold, r.restart) for r in runs_of(experiment, (2, 0, 2), 2)] == [(2, 0), (2, 1), (0, 0), (0, 1)]
    with pytest.raises(UsageError, match="no fold 3: the experiment has folds 0 to 2"):
        runs_of(experiment, (3,))


def test_every_wrong_value_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "mine"\nepochs = "ten"\n\n[runs]\nfolds = 3\nstratify = ["a", 1]\n')
    with pytest.raises(UsageError) as caught:
        load(mine)
    first, second = str(caught.value).splitlines()
    assert first == f'epochs = "ten" in {mine}, line 2: it is a whole number, as epochs = 50'
    assert second.startswith(f'runs.stratify = ["a", 1] in {mine}, line 6: it is a list of texts')


def test_a_file_that_cannot_be_read_says_so_without_a_number(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.toml: cannot be read: No such file or directory$"):
        load(tmp_path / "x.toml")
    (tmp_path / "latin.toml").write_bytes(b'title = "caf\xe9"\n')
    with pytest.raises(UsageError, match=r"latin\.toml: cannot be read: it is not UTF-8 text$"):
        load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"epoch": 3}, r"no field called 'epoch'.*did you mean 'epochs'"),
        ({"model": {"chanels": 5}}, r"'chanels' in f\.toml \[model\]; did you mean 'channels'"),
        ({"epochs": "many"}, r'epochs = "many" in f\.toml: it is a whole number, as epochs = 50'),
        ({"epochs": 2.5}, r"epochs = 2\.5 in f\.toml: it is a whole number"),
        ({"epochs": True}, r"epochs = true in f\.toml: it is a whole number"),
        ({"title": 3}, r"title = 3 in f\.toml: it is a text, in quotes"),
        ({"command": "python train.py"}, r'command = "python train\.py" in f\.toml: it is a list of texts'),
        ({"runs": 3}, r"runs = 3 in f\.toml: it is a table; write \[runs\] on a line of its own"),
        ({"prepare": {"shape": [64, 64]}}, r"prepare\.shape = \[64, 64\] in f\.toml: it is a list of 3 whole numbers"),
        ({"optimizer": {"lr": date(2026, 1, 1)}}, r"optimizer\.lr = 2026-01-01 in f\.toml: it is a number, as lr = 0\.001"),
        ({"target": {"std": 0.1}}, r"target\.dice is missing in f\.toml: it is a number"),
        ({"locks": {"batch_size": 8}}, r"locks\.batch_size = 8 in f\.toml: it is a table; write \[locks\.batch_size\]"),
        ({"locks": {"batch_size": {"value": 8}}}, r"locks\.batch_size\.reason is missing in f\.toml: it is a text"),
        ({"locks": {"batch_size": {"value": 8, "reason": "r", "why": "x"}}}, r"no field called 'why' in f\.toml \[locks\.batch"),
        ({"knobs": {"batch_size": {}}}, r"knobs\.batch_size = a table in f\.toml: it is true or false, a number or a text"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"runs": {"folds": 1}}, "folds must be 2 or more"),
        ({"prepare": {"spacing_mm": 0}}, "spacing_mm must be more than 0"),
        ({"loss": {"class_weights": [1.0]}}, "one weight per class"),
        ({"knobs": {"workers": 2}}, "did you mean 'num_workers'"),
        ({"locks": {"batch": {"value": 1, "reason": "r"}}}, "did you mean 'batch_size'"),
        ({"locks": {"batch_size": {"value": 1, "reason": ""}}}, "gives no reason"),
        ({"data": {"source": "cloud"}}, r'data\.source = "cloud" in f\.toml: it is one of "phantom", "bids", "pairs"'),
    ],
)
def test_a_wrong_field_is_named_with_its_place_and_remedy(table: dict, words: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=words):
        from_table(table, "f.toml")


def test_a_knob_comes_from_default_experiment_profile_and_command_line_in_that_order() -> None:
    experiment = from_table({"knobs": {"num_workers": 1, "prefetch_factor": 7}}, "x")
    profile, _ = resolved(experiment, {"num_workers": 4, "persistent_workers": False}, {"persistent_workers": True})
    assert profile["num_workers"] == 4
    assert profile["prefetch_factor"] == 7
    assert profile["persistent_workers"] is True
    assert set(profile.knobs) == set(KNOBS)


def test_a_lock_beats_a_profile_quietly_and_the_command_line_loudly() -> None:
    experiment = from_table(LOCKED, "x")
    assert resolved(experiment, {"batch_size": 2}, {})[0]["batch_size"] == 8
    with pytest.raises(UsageError, match=r"locked at 8.*deep supervision needs small batches.*--override-locks"):
        resolved(experiment, {}, {"batch_size": 16})
    profile, overridden = resolved(experiment, {}, {"batch_size": 16}, override=True)
    assert profile["batch_size"] == 16
    assert overridden == {"batch_size": "deep supervision needs small batches"}


def test_the_training_hash_changes_with_what_changes_the_result_and_nothing_else() -> None:
    experiment = from_table({}, "x")
    profile, _ = resolved(experiment, {}, {})
    same = [
        (experiment, resolved(experiment, {"num_workers": 7, "prefetch_factor": 9}, {})[0]),
        (from_table({"runs": {"restarts": 3}, "title": "other"}, "x"), profile),
        (from_table({"target": {"dice": 0.5}}, "x"), profile),
    ]
    other = [
        (msgspec.structs.replace(experiment, epochs=1), profile),
        (from_table({"runs": {"folds": 5}}, "x"), profile),
        (from_table({"runs": {"base_seed": 7}}, "x"), profile),
        (from_table({"model": {"channels": 5}}, "x"), profile),
        (experiment, resolved(experiment, {}, {"batch_size": 2})[0]),
    ]
    base = training_hash(experiment, profile)
    assert all(training_hash(*pair) == base for pair in same)
    assert len({base, *(training_hash(*pair) for pair in other)}) == len(other) + 1


class LaterModel(Model, frozen=True, kw_only=True):
    """The tables of a later version, which knows a field more."""

    groups: int = 8


class Later(Experiment, frozen=True, kw_only=True):
    model: LaterModel = LaterModel()
    sharpness: float = 0.0


def test_a_later_version_that_knows_more_goes_on_with_what_an_earlier_one_began() -> None:
    experiment = from_table({"model": {"channels": 5}, "optimizer": {"lr": 0.01}}, "x")
    profile, _ = resolved(experiment, {}, {})
    later = msgspec.convert(msgspec.to_builtins(experiment), Later)
    assert training_hash(later, profile) == training_hash(experiment, profile)
    for changed in (
        msgspec.structs.replace(later, sharpness=1.0),
        msgspec.structs.replace(later, model=msgspec.structs.replace(later.model, groups=4)),
    ):
        assert training_hash(changed, profile) != training_hash(experiment, profile)


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 8))
def test_steps_per_epoch_cover_every_sample_once(train: int, batch: int, accumulate: int) -> None:
    from engine.config.prepared import Split, steps_per_epoch

    experiment = from_table({}, "x")
    profile, _ = resolved(experiment, {}, {"batch_size": batch, "accumulate_steps": accumulate})
    steps = steps_per_epoch(Split(fold=0, train=tuple(range(train)), test=()), profile)
    assert (steps - 1) * batch * accumulate < train <= steps * batch * accumulate
