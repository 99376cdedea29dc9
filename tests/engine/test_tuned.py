"""What a tuner found is remembered for its kind of training, and profile `auto` takes it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from engine.config.experiment import from_table, of_variant, resolve_profile
from engine.config.plan import Plan
from engine.config.profile import KNOBS, defaults
from engine.config.run_keys import runs_of
from engine.errors import UsageError
from engine.eta.costs import benchmark_key, training_key
from engine.machine import cores
from engine.machine.cores import Machine
from engine.machine.device_preview import quick_device
from engine.paths import tuned_file
from engine.phase import tuned
from engine.phase.tuned import Measured, recall, remember
from engine.runs.choice import choose

EXPERIMENT = from_table({}, "x")
FAST = Measured(samples_per_second=12.5, low=12.1, high=12.9, steps=96)


def key(batch: int = 1) -> str:
    profile, _ = resolve_profile(EXPERIMENT, "auto", "", {}, {"batch_size": batch})
    return training_key(EXPERIMENT, profile, quick_device("cpu")["name"])


def test_what_was_found_is_taken_and_said(tmp_path: Path) -> None:
    remember(tmp_path, key(), {"num_workers": 2, "prefetch_factor": 5}, FAST)
    profile, _ = choose(EXPERIMENT, "auto", {}, tmp_path, "cpu")
    assert (profile["num_workers"], profile["prefetch_factor"]) == (2, 5)
    assert profile.scaled == {}
    assert profile.basis.startswith("as tuned ") and "prefetch_factor 5" in profile.basis and "12.5 samples/s" in profile.basis


def test_before_anything_is_found_the_cores_decide_and_that_is_said(tmp_path: Path) -> None:
    remember(tmp_path, key(batch=2), {"num_workers": 7}, FAST)
    machine = Machine(cores=12, scheduled=12)
    profile, _ = choose(EXPERIMENT, "auto", {}, tmp_path, "cpu", machine=machine)
    assert profile["num_workers"] == 6 and profile.scaled == {"num_workers": "cores/2"}
    assert profile.basis.startswith("nothing tuned for this model, shape, batch, precision and device on 12 cores yet")
    assert profile.basis.endswith("chosen by the machine: num_workers 6 (cores/2)")
    assert choose(EXPERIMENT, "auto", {"batch_size": 2}, tmp_path, "cpu")[0]["num_workers"] == 7


def test_the_command_line_and_locks_still_win(tmp_path: Path) -> None:
    locked = from_table({"locks": {"in_order": {"value": True, "reason": "the order is the result"}}}, "x")
    remember(tmp_path, key(), {"num_workers": 2, "in_order": False}, FAST)
    profile, _ = choose(locked, "auto", {"num_workers": 1}, tmp_path, "cpu")
    assert (profile["num_workers"], profile["in_order"]) == (1, True)


def test_a_key_says_what_is_computed_and_leaves_out_how_it_is_loaded() -> None:
    profile, _ = resolve_profile(EXPERIMENT, "p", "", {}, {"num_workers": 3})
    plan = Plan(name="x", experiment_name="x", experiment=EXPERIMENT, profile=profile, runs=runs_of(EXPERIMENT))
    assert benchmark_key(plan, "A100") == f"{training_key(EXPERIMENT, profile, 'A100')}|workers 3"


def test_a_complete_profile_without_workers_is_no_contradiction(tmp_path: Path) -> None:
    remember(tmp_path, key(), defaults() | {"num_workers": 0}, FAST)
    assert choose(EXPERIMENT, "auto", {}, tmp_path, "cpu")[0]["num_workers"] == 0


def test_tuned_again_it_is_replaced_and_others_stay(tmp_path: Path) -> None:
    remember(tmp_path, "a", {"num_workers": 1}, FAST)
    remember(tmp_path, "b", {"num_workers": 2}, FAST)
    remember(tmp_path, "a", {"num_workers": 3}, FAST)
    assert [(e.key, e.knobs) for e in tuned.entries(tmp_path)] == [("a", {"num_workers": 3}), ("b", {"num_workers": 2})]
    assert recall(tmp_path, "c") is None and recall(tmp_path / "nowhere", "a") is None


def test_with_another_number_of_cores_it_is_not_taken(tmp_path: Path) -> None:
    remember(tmp_path, "a", {"num_workers": 1}, FAST)
    file = tuned_file(tmp_path)
    file.write_text(file.read_text().replace(f"cores = {cores.machine().cores}", "cores = 999"))
    assert recall(tmp_path, "a") is None and len(tuned.entries(tmp_path)) == 1


@pytest.mark.parametrize("text", ["tuned = [", "tuned = 3", "[[tuned]]\nkey = 'a'", "\x00", "[[tuned]]\nkey='a'\ncores=2\n[tuned.knobs]\nworkers=3"])
def test_a_damaged_file_is_as_none_and_is_mended_by_the_next_finding(tmp_path: Path, text: str) -> None:
    tuned_file(tmp_path).write_text(text)
    assert recall(tmp_path, "a") is None
    remember(tmp_path, "a", {"num_workers": 1}, FAST)
    assert recall(tmp_path, "a") is not None


def test_an_impossible_finding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must lie in"):
        remember(tmp_path, "a", {"num_workers": -1}, FAST)
    assert not tuned_file(tmp_path).exists()


@settings(max_examples=100, deadline=None)
@given(key=st.text(max_size=60), workers=st.integers(0, 64), speed=st.floats(1e-6, 1e9))
def test_any_key_is_written_as_toml(tmp_path_factory: pytest.TempPathFactory, key: str, workers: int, speed: float) -> None:
    folder = tmp_path_factory.mktemp("t")
    found = remember(folder, key, {"num_workers": workers, "precision": "bf16"}, Measured(samples_per_second=speed))
    text = tuned_file(folder).read_text()
    assert tomllib.loads(text)["tuned"][0]["knobs"] == {"num_workers": workers, "precision": "bf16"}
    assert recall(folder, found.key) == found
    assert set(found.knobs) <= set(KNOBS)


def test_two_that_end_at_once_lose_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from engine.phase.tuned import Measured, remember\n"
        "for i in range(15): remember(Path(sys.argv[1]), f'{sys.argv[2]}{i}', {}, Measured(samples_per_second=1.0))"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    assert len(tuned.entries(tmp_path)) == 30


# ---------------------------------------------------------------- variants


ABLATION = from_table({"variants": {"plain": {}, "wide": {"set": {"model.channels": 40}}}}, "x")


def found_with(logs: Path, variant: str, prefetch: int, name: str = "") -> None:
    """What `steptop tune --variants VARIANT` leaves."""
    profile, _ = resolve_profile(ABLATION, "auto", "", {}, {})
    of = training_key(of_variant(ABLATION, variant), profile, quick_device("cpu")["name"])
    remember(logs, of, {"num_workers": 1, "prefetch_factor": prefetch}, FAST, name or variant)


def auto(logs: Path, *variants: str) -> tuple[int, str]:
    profile, _ = choose(ABLATION, "auto", {}, logs, "cpu", variants=variants or None)
    return int(profile["prefetch_factor"]), profile.basis


def test_each_variant_keeps_what_was_found_with_it_and_auto_says_which_it_took(tmp_path: Path) -> None:
    found_with(tmp_path, "plain", 3)
    found_with(tmp_path, "wide", 5)
    assert {(entry.variant, entry.knobs["prefetch_factor"]) for entry in tuned.entries(tmp_path)} == {("plain", 3), ("wide", 5)}
    for asked, prefetch, variant in ((("wide",), 5, "wide"), (("plain",), 3, "plain"), ((), 3, "plain"), (("wide", "plain"), 5, "wide")):
        taken, basis = auto(tmp_path, *asked)
        assert taken == prefetch and f" with variant {variant}: " in basis, asked
    found_with(tmp_path, "wide", 7)
    assert auto(tmp_path, "wide")[0] == 7 and auto(tmp_path, "plain")[0] == 3


def test_of_variants_that_compute_alike_each_has_its_own(tmp_path: Path) -> None:
    """What a step loads is no part of the key: an augmentation, say."""
    remember(tmp_path, "a", {"prefetch_factor": 3}, FAST, "plain")
    remember(tmp_path, "a", {"prefetch_factor": 5}, FAST, "flipped")
    plain, flipped = recall(tmp_path, "a", "plain"), recall(tmp_path, "a", "flipped")
    assert plain is not None and flipped is not None
    assert (plain.knobs["prefetch_factor"], flipped.knobs["prefetch_factor"]) == (3, 5)
    assert recall(tmp_path, "a", "third") is None and recall(tmp_path, "a") is None


def test_where_only_another_variant_was_tuned_that_is_taken_for_all_of_them_and_said(tmp_path: Path) -> None:
    found_with(tmp_path, "wide", 5)
    taken, basis = auto(tmp_path)
    assert taken == 5 and " with variant wide: " in basis
    assert auto(tmp_path, "plain")[1].startswith("nothing tuned"), "another network's answer is none"


def test_a_file_of_before_which_names_no_variant_is_still_read(tmp_path: Path) -> None:
    found_with(tmp_path, "plain", 4)
    file = tuned_file(tmp_path)
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("variant")))
    (entry,) = tuned.entries(tmp_path)
    assert entry.variant == "" and "variant" not in entry.text
    for variants in ((), ("plain",), ("wide",)):
        assert auto(tmp_path, *variants)[0] == 4
    found_with(tmp_path, "wide", 6)
    assert auto(tmp_path, "wide")[0] == 6 and auto(tmp_path, "plain")[0] == 4
