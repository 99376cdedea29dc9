"""Variants of an experiment: what they set, their runs and folders, and how they stand beside each other."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from engine.config.experiment import Experiment, from_table, of_variant
from engine.config.hashes import run_hash
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, split_of, steps_per_epoch
from engine.config.run_keys import dimensions, runs_of
from engine.diagnosis.consequences import consequences
from engine.errors import UsageError
from engine.eta.forecast import forecast
from engine.journals import journal
from engine.journals.events import Begin, Metrics, RunStarted, Steps, SupervisorStarted
from engine.live.fold_run import fold_run
from engine.live.held_out import carried_words, epochs_since
from engine.live.state import ExperimentState, RunState, new_experiment, new_run
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, run_named
from engine.report.build import report_of
from engine.report.render_markdown import render
from engine.runs import launch
from engine.runs.ablation import Result, compare
from engine.runs.placing import Finished
from engine.status import status
from tests.conftest import Laboratory, fake_plan, wait_until, whole_plan
from tests.fixtures.recorded import HERE
from tui.cli import main
from tui.verbs.results import result_lines, told_by_runs
from tui.widgets.runs import matrix

TWO = {
    "baseline": {"title": "as it is"},
    "mkdc": {"title": "with it", "set": {"model.mkdc": True, "model.aux": True, "loss.deep_supervision": [1, 0.5, 0.5, 0.5]}},
}
UNET = {"model": {"name": "resnet_unet"}, "loss": {"deep_supervision": [1.0, 0.5, 0.25, 0.125]}}


def experiment(variants: dict[str, object] | None = None, **more: object) -> Experiment:
    return from_table(UNET | {"runs": {"folds": 2, "restarts": 1}, "variants": variants or TWO, **more}, "f.toml")


def plan_with(variants: dict[str, object] | None = None, **more: object) -> Plan:
    plan = fake_plan(folds=2, restarts=1)
    made = msgspec.structs.replace(
        plan.experiment, variants=experiment(variants).variants, patch=experiment(variants, **more).patch
    )
    return msgspec.structs.replace(plan, experiment=made, runs=runs_of(made))


# ---------------------------------------------------------------- what a variant sets


def test_a_variant_sets_fields_of_the_experiment_and_leaves_the_rest() -> None:
    whole = experiment()
    made = of_variant(whole, "mkdc")
    assert made.model.mkdc
    assert made.loss.deep_supervision == (1, 0.5, 0.5, 0.5)
    assert made == msgspec.structs.replace(whole, model=made.model, loss=made.loss)
    assert of_variant(whole, "baseline") == of_variant(whole, "") == whole


def test_toml_without_quotes_means_the_same() -> None:
    assert experiment({"a": {"set": {"model": {"mkdc": True}}}}) == experiment({"a": {"set": {"model.mkdc": True}}})


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"model.mkcd": True}, r"no field called 'model.mkcd' in f\.toml \[variants\.a\]; did you mean 'model.mkdc'"),
        ({"modle.mkdc": True}, r"no field called 'modle' in f\.toml \[variants\.a\]; did you mean 'model'"),
        ({"model.mkdc": 3}, r"model\.mkdc = 3 in f\.toml \[variants\.a\]: it is true or false"),
        ({"loss.deep_supervision": ["x"]}, r"loss\.deep_supervision = .* it is a list of numbers"),
        ({"data.subjects": 3}, r"data\.subjects is the same in every variant; a variant sets fields of augment, loss"),
        ({"runs.folds": 3}, r"runs\.folds is the same in every variant"),
        ({"model.mkdc.x": 3}, r"model\.mkdc is a value, not a table"),
        ({"model": 3}, r"model is a table; set its fields one by one"),
        ({"model.channels": 0}, r"f\.toml \[variants\.a\]: model\.channels must be 1 or more"),
    ],
)
def test_a_wrong_field_of_a_variant_is_named(sets: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        experiment({"a": {"set": sets}})


@pytest.mark.parametrize("name", ["a b", "../x", "mk_dc", "", "-x", "x" * 33])
def test_a_variant_whose_name_can_be_no_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a variant's name"):
        experiment({name: {}})


# ---------------------------------------------------------------- their runs


def test_variants_of_a_fold_come_together_and_share_its_seed() -> None:
    whole = experiment(runs={"folds": 2, "restarts": 2})
    runs = runs_of(whole)
    assert [key.at for key in runs[:4]] == [(0, 0, "baseline"), (0, 0, "mkdc"), (0, 1, "baseline"), (0, 1, "mkdc")]
    assert [key.seed for key in runs[:4]] == [42, 42, 43, 43]
    assert runs[1].name == "mkdc fold 0 restart 0"
    assert dimensions(runs) == "2 variants × 2 folds × 2 restarts"
    by_fold = experiment(runs={"folds": 2, "restarts": 2, "seed_by": "fold"})
    assert [key.seed for key in runs_of(by_fold, variants=("mkdc",))] == [42, 44, 43, 45]


def test_some_variants_can_be_asked_for() -> None:
    assert [key.variant for key in runs_of(experiment(), (0,), variants=("mkdc",))] == ["mkdc"]
    with pytest.raises(UsageError, match="no variant called 'mkcd'; did you mean 'mkdc'"):
        runs_of(experiment(), variants=("mkcd",))
    with pytest.raises(UsageError, match="no variant 'mkdc': the experiment has none"):
        runs_of(from_table({}, "x"), variants=("mkdc",))


def test_one_more_variant_leaves_what_is_trained_as_it_is() -> None:
    def hashes(variants: dict[str, object]) -> list[str]:
        whole = experiment(variants)
        profile = fake_plan().profile
        plan = whole_plan(whole, profile)
        return [run_hash(plan, key, "data") for key in plan.runs if key.variant in TWO and key.fold == 0]

    first = hashes(TWO)
    assert hashes(TWO | {"ds": {"set": {"model.aux": True}}}) == first
    assert len(set(first)) == 2
    changed = hashes(TWO | {"mkdc": {"set": {"model.mkdc": True}}})
    assert changed[0] == first[0]
    assert changed[1] != first[1]


def test_a_variant_with_other_patches_has_other_steps() -> None:
    plan = plan_with({"a": {}, "b": {"set": {"patch.per_volume": 8}}}, patch={"shape": [8, 8, 8], "per_volume": 2})
    prepared = Prepared(subjects=(), splits=(Split(fold=0, train=(0, 1, 2), test=(3,), draws=6),), data_hash="")
    steps = {
        key.variant: steps_per_epoch(split, plan.profile)
        for key in plan.runs if (split := split_of(plan, prepared, key)) is not None
    }
    assert steps == {"a": 6, "b": 24}


def test_a_folder_s_name_says_which_run_it_is(tmp_path: Path) -> None:
    paths = ExperimentPaths(tmp_path)
    for at in ((0, 3, ""), (12, 0, "mkdc-ds"), (1, 1, "fold")):
        assert run_named(paths.run(*at).folder) == at
    assert paths.run(0, 3).folder.name == "fold_0_restart_3"
    assert paths.run(12, 0, "mkdc-ds").folder.name == "mkdc-ds_fold_12_restart_0"
    assert run_named(tmp_path / "results") is None


# ---------------------------------------------------------------- launched


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ExperimentPaths:
    """Two variants × two folds by the stand-in trainer: stopped after the first run, then resumed."""
    logs = tmp_path_factory.mktemp("variants")
    lab = Laboratory(logs)
    plan = msgspec.structs.replace(plan_with(), stop_after_runs=1)
    paths = lab.launch(plan)
    try:
        wait_until(lambda: Watch(paths.folder).poll().phase == "stopped", what="the first run's end")
        launch.resume(paths.folder)
        wait_until(lambda: Watch(paths.folder).poll().phase == "finished", what="the rest")
    finally:
        lab.close()
    return paths


def test_every_variant_is_trained_in_a_folder_of_its_own(trained: ExperimentPaths) -> None:
    records = journal.read(trained.events)
    order = [record.at for record in records if isinstance(record, RunStarted)]
    assert order == [(0, 0, "baseline"), (0, 0, "mkdc"), (1, 0, "baseline"), (1, 0, "mkdc")]
    first = next(record for record in records if isinstance(record, SupervisorStarted))
    assert first.runs == ((0, 0), (0, 0), (1, 0), (1, 0))
    assert first.variants == ("baseline", "mkdc", "baseline", "mkdc")
    state = Watch(trained.folder).poll()
    assert [run.phase for run in state.runs] == ["finished"] * 4
    begun = [run.begin.variant for run in state.runs if run.begin is not None]
    assert begun == [run.key.variant for run in state.runs]
    seen = status(state)
    assert seen.run is not None
    assert (seen.run.variant, seen.run.fold) == ("mkdc", 1)


def test_results_and_logs_tell_variants_apart(trained: ExperimentPaths, capsys: pytest.CaptureFixture[str]) -> None:
    found = told_by_runs(trained.folder)
    assert found is not None
    lines = result_lines(found, trained.folder)
    assert any(line.startswith("  mkdc fold 1 restart 0") for line in lines)
    assert lines[-2:] == ["  baseline  0.800 ± 0.000 (2)", "  mkdc      0.800 ± 0.000 (2)    +0.000 (+0.000 to +0.000)  not distinguishable"]
    words = ("--logs", str(trained.folder.parent), "logs", trained.folder.name)
    assert main([*words, "--run", "mkdc,0,0"]) == 0
    assert main([*words, "--run", "mkdc"]) == 2
    assert "write fold and restart with a comma" in capsys.readouterr().err


def test_a_finished_experiment_is_gone_on_with_where_a_variant_has_changed(trained: ExperimentPaths) -> None:
    request = launch.Request(experiment="x", logs=trained.folder.parent)
    with pytest.raises(Finished):
        launch.place_of(request, plan_with())
    for variants in (TWO | {"mkdc": {"set": {"model.mkdc": True}}}, TWO | {"ds": {"set": {"model.aux": True}}}):
        assert launch.place_of(request, plan_with(variants)).folder == trained.folder


def test_runs_of_a_variant_that_is_another_by_now_leave_the_queue_with_a_word(trained: ExperimentPaths) -> None:
    """They would be trained anew although the command does not name them."""
    request = launch.Request(experiment="x", logs=trained.folder.parent, folds=(0, 1), restarts=2, variants=("baseline",))
    other = plan_with(TWO | {"mkdc": {"set": {"model.mkdc": True}}})
    base = other.experiment
    wanted = msgspec.structs.replace(other, runs=runs_of(base, (0, 1), 2, ("baseline",)))
    place = launch.place_of(request, wanted)
    assert {key.variant for key in place.plan.runs} == {"baseline"}
    assert [key.at for key in place.left.runs] == [(0, 1, "baseline"), (1, 1, "baseline")]
    assert "added to its queue: baseline fold 0 restart 1, baseline fold 1 restart 1" in place.said
    assert "left out: mkdc fold 0 restart 0, mkdc fold 1 restart 0" in place.said


def test_the_report_has_a_row_for_every_variant(trained: ExperimentPaths) -> None:
    text = render(report_of(Watch(trained.folder).poll()))
    assert "variant | Dice over folds | deviation | folds | difference | range of it" in text
    assert re.search(r"`mkdc` \| 0\.800.* \| 2.* \| 0\.000.* \| \+0\.000 to \+0\.000 \(95 %\).* \| not distinguishable", text)
    assert re.search(r"\| runs \| 4.* \(2.* variants, ", text)


def test_a_journal_from_before_there_were_variants_is_read(tmp_path: Path) -> None:
    with tarfile.open(HERE / "uneven.tar.xz") as archive:
        archive.extractall(tmp_path / "uneven", filter="data")
    state = Watch(tmp_path / "uneven").poll()
    assert [run.key.at for run in state.runs] == [(0, 0, "")]
    assert state.runs[0].phase == "finished"
    assert state.runs[0].step > 0
    assert matrix(state).rows == ("fold 0",)


# ---------------------------------------------------------------- beside each other


def test_paired_differences_with_their_interval() -> None:
    base, other = [0.60, 0.70, 0.80], [0.61, 0.73, 0.82]
    told = [Result("base", fold, 0, value) for fold, value in enumerate(base)]
    told += [Result("other", fold, restart, value + 0.01 * restart) for fold, value in enumerate(other) for restart in (0, -1, 1)]
    first, second = compare(told, ("base", "other", "not yet"))
    assert (first.mean, first.std) == (pytest.approx(0.7), pytest.approx(0.1))
    assert first.difference is None
    assert (second.runs, second.folds, second.pairs) == (9, 3, 3)
    assert second.difference == pytest.approx(0.02)
    # t of 2 degrees of freedom is 4.3027; the differences deviate by 0.01.
    assert second.high == pytest.approx(0.02 + 4.3027 * 0.01 / 3**0.5, abs=1e-5)
    assert second.verdict() == "not distinguishable"


def test_a_restart_is_compared_with_its_like_and_not_with_the_mean_of_others() -> None:
    """One variant has all of its restarts by now, the other its first: later ones start luckier here."""
    folds = [0.3, 0.5, 0.6]
    told = [Result("a", i, restart, value + 0.1 * restart) for i, value in enumerate(folds) for restart in range(3)]
    told += [Result("b", i, 0, value + 0.02 + 0.001 * i) for i, value in enumerate(folds)]
    _, second = compare(told, ("a", "b"))
    assert second.difference == pytest.approx(0.021) and second.pairs == 3
    assert second.verdict() == "better"
    apart = compare([one for one in told if one.variant == "b" or one.restart], ("a", "b"))[1]
    assert (apart.pairs, apart.difference, apart.verdict()) == (0, None, "too few folds to tell")


def test_what_differs_in_every_fold_alike_is_told_although_folds_differ_more() -> None:
    folds = [0.3, 0.5, 0.6, 0.8]
    told = [Result("a", i, 0, value) for i, value in enumerate(folds)]
    told += [Result("b", i, 0, value + 0.02 + 0.001 * i) for i, value in enumerate(folds)]
    _, second = compare(told, ("a", "b"))
    assert second.verdict() == "better"
    assert second.verdict("lower") == "worse"
    assert compare(told[:5], ("a", "b"))[1].verdict() == "too few folds to tell"


def test_the_matrix_has_variants_one_below_the_other() -> None:
    state = new_experiment("/x", plan_with())
    found = matrix(state)
    assert (found.rows, found.columns, found.corner) == (("baseline", "mkdc"), ("0", "1"), "fold")
    assert found.cells["mkdc", "1"].key.at == (1, 0, "mkdc")


def paced(run: RunState, step_seconds: float, epochs: int = 4, steps: int = 50) -> RunState:
    key = run.key
    begin = Begin(fold=key.fold, variant=key.variant, epochs=epochs, steps_per_epoch=steps, m=1.0)
    lines = [
        Steps(epoch=(n - 1) // steps + 1, step=n, steps=1, seconds=step_seconds, low=step_seconds, high=step_seconds,
              m=1.0 + n * step_seconds)
        for n in range(1, epochs * steps + 1)
    ]
    return fold_run(run, [begin, *lines])


def test_another_variant_s_runs_are_forecast_by_its_own_pace() -> None:
    whole = new_experiment("/x", plan_with())
    slow = paced(whole.runs[1], 2.0)
    present = msgspec.structs.replace(paced(whole.runs[2], 1.0, epochs=3), phase="running")
    finished = tuple(
        msgspec.structs.replace(run, phase="finished") for run in (paced(whole.runs[0], 1.0), slow)
    )
    state = msgspec.structs.replace(
        whole, runs=(*finished, present, whole.runs[3]), current=2, phase="running", runs_ended_here=2,
    )

    def train_seconds(state: ExperimentState) -> float:
        return forecast(state).parts["train"]

    # The present run's three epochs are done; what is left is the slow variant's run.
    steps = present.steps_per_epoch * 3
    assert train_seconds(state) == pytest.approx(2.0 * steps, rel=0.05)


def test_figures_between_validations_are_carried_and_say_so() -> None:
    run = new_run(plan_with().runs[0])
    run = paced(run, 1.0, epochs=5, steps=2)
    run = fold_run(run, [Metrics(split="val", values={"dice": 0.7}, epoch=5, step=10)])
    assert run.validation is not None
    assert epochs_since(run, run.validation) == 0
    later = fold_run(run, [Steps(epoch=6, step=12, steps=2, seconds=2.0, low=1.0, high=1.0)])
    assert later.validation is not None
    assert epochs_since(later, later.validation) == 1
    assert carried_words(later, later.validation) == "carried from epoch 5"
    whole = fold_run(later, [Metrics(split="volume", values={"dice": 0.5}, epoch=6, step=12)])
    assert whole.whole is not None
    assert whole.validation == later.validation
    assert fmean(whole.whole.values.values()) == 0.5


# ---------------------------------------------------------------- minimums, and a coupled learning rate


def test_less_than_a_minimum_is_refused_with_its_reason_and_recorded_if_overridden(tmp_path: Path) -> None:
    request = launch.Request(experiment="stroke-ablation", logs=tmp_path, data=tmp_path, epochs=20)
    with pytest.raises(UsageError, match="epochs is 100 or more by the experiment: the auxiliary losses take the full"):
        launch.plan_for(request)
    plan = launch.plan_for(msgspec.structs.replace(request, override_locks=True))
    assert "the full schedule" in plan.overridden["epochs"]
    with pytest.raises(UsageError, match="batch_size is locked at 8 by the experiment: deep supervision"):
        launch.plan_for(msgspec.structs.replace(request, epochs=None, settings={"batch_size": 16}))


def test_the_editor_says_what_another_batch_does_to_a_coupled_learning_rate() -> None:
    plan = fake_plan()
    table = msgspec.structs.replace(plan.experiment.optimizer, lr=1e-4, lr_batch=8)
    made = msgspec.structs.replace(plan.experiment, optimizer=table)
    knobs = plan.profile.knobs | {"batch_size": 8}
    held = msgspec.structs.replace(plan, experiment=made, profile=msgspec.structs.replace(plan.profile, knobs=knobs))
    state = new_experiment("/x", held)
    said = consequences(state, knobs | {"batch_size": 16}).sentences
    assert any(text.startswith("lr 0.0001 → 0.0002 with it") for text in said)
    assert not any(text.startswith("lr") for text in consequences(state, knobs | {"num_workers": 5}).sentences)
    plain = new_experiment("/x", msgspec.structs.replace(held, experiment=plan.experiment))
    assert not any(text.startswith("lr") for text in consequences(plain, knobs | {"batch_size": 16}).sentences)


@pytest.mark.parametrize(
    ("minimums", "words"),
    [
        ({"epoch": {"least": 1, "reason": "r"}}, "no field called 'epoch' in .*did you mean 'epochs'"),
        ({"title": {"least": 1, "reason": "r"}}, "no number called 'title'"),
        ({"epochs": {"least": 99, "reason": "r"}}, "epochs = 50 is below its own minimum of 99"),
        ({"epochs": {"least": 1, "reason": ""}}, "the minimum of epochs gives no reason"),
        ({"epochs": {"least": 1}}, "minimums.epochs.reason is missing"),
    ],
)
def test_a_wrong_minimum_is_named(minimums: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        experiment(minimums=minimums)
