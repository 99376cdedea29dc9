"""Profiles: every knob declared once, checked everywhere, and refused in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from engine.config import catalog, profile
from engine.config.experiment import from_table, resolve_profile
from engine.config.profile import KNOBS
from engine.config.profile_file import line_of, load
from engine.errors import UsageError
from engine.machine import cgroup
from engine.machine.cores import Machine


def values_of(knob: profile.Knob) -> st.SearchStrategy[object]:
    if knob.choices:
        return st.sampled_from(knob.choices)
    if isinstance(knob.default, bool):
        return st.booleans()
    return st.integers(knob.low, knob.high)


def test_every_shipped_profile_loads_and_says_what_it_is_for() -> None:
    entries = catalog.profiles()
    assert {"conservative", "moderate", "aggressive", "auto"} <= set(entries)
    for entry in entries.values():
        assert not entry.problem
        assert entry.title


@pytest.mark.parametrize("knob", KNOBS.values(), ids=str)
def test_every_knob_explains_itself_and_accepts_its_own_default(knob: profile.Knob) -> None:
    assert knob.help
    assert knob.check(knob.default) == knob.default


@given(st.data())
def test_what_a_knob_accepts_can_be_typed_and_read_back(data: st.DataObject) -> None:
    knob = data.draw(st.sampled_from(list(KNOBS.values())))
    value = data.draw(values_of(knob))
    assert knob.parse(str(value).lower() if isinstance(value, bool) else str(value)) == value


@given(st.sampled_from([k for k in KNOBS.values() if k.high is not None]), st.integers())
def test_a_number_is_accepted_exactly_within_its_range(knob: profile.Knob, value: int) -> None:
    if knob.low <= value <= knob.high:  # type: ignore[operator]
        assert knob.check(value) == value
    else:
        with pytest.raises(UsageError, match=knob.name):
            knob.check(value)


@given(st.text(max_size=30))
def test_no_text_typed_for_a_knob_does_anything_but_work_or_explain(text: str) -> None:
    for knob in KNOBS.values():
        try:
            assert knob.check(knob.parse(text)) is not None
        except UsageError as error:
            assert knob.name in str(error)


def test_a_misspelt_knob_gets_the_nearest_right_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[knobs]\nnum_worker = 3\n")
    with pytest.raises(UsageError, match=r"'num_worker' in .*mine\.toml, line 2; did you mean 'num_workers'"):
        load(file)
    file.write_text("# mine\ntitel = 'x'\n[knobs]\n")
    with pytest.raises(UsageError, match=r"'titel' in .*mine\.toml, line 2; did you mean 'title'"):
        load(file)
    with pytest.raises(UsageError, match="did you mean 'prefetch_factor'"):
        profile.parse_settings(["prefetch=3"])


@pytest.mark.parametrize(
    ("setting", "way"),
    [
        ("optimizer.lr=1e-3", "write lr = 1e-3 below [optimizer]"),
        ("lr=1e-3", "write lr = 1e-3 below [optimizer]"),
        ("loss.terms.skeleton.every=8", "write every = 8 below [loss.terms.skeleton]"),
        ("epochs=3", "give --epochs 3 at launch, or copy the file"),
    ],
)
def test_a_field_of_the_experiments_file_is_no_knob_and_the_way_to_set_it_is_said(setting: str, way: str) -> None:
    with pytest.raises(UsageError) as error:
        profile.parse_settings([setting])
    said = str(error.value)
    assert "is no knob but a field of the experiment's file" in said and way in said
    assert "./experiments/NAME.toml" in said and "engine/experiments" in said and "There are" not in said


@pytest.mark.parametrize("setting", ["optimizer.rl=1", "nothing.at.all=1", "optimizer=1", "epochs.lr=1", ".lr=1", "lr.=1"])
def test_what_is_no_field_either_is_an_unknown_knob(setting: str) -> None:
    with pytest.raises(UsageError, match=r"no knob called .* There are: "):
        profile.parse_settings([setting])


ON_TWELVE = Machine(cores=12, scheduled=12)
TIGHT = Machine(cores=12, scheduled=12, pids=cgroup.Limit(100, 80, "/sys/fs/cgroup/pids.max"))
HALF = Machine(cores=2, scheduled=12, quota=cgroup.Limit(2, 0, "/sys/fs/cgroup/cpu.max"))


@pytest.mark.parametrize(
    ("text", "machine", "said"),
    [
        ('num_workers = "many"', None, r"num_workers = 'many' in F, line 4: it is a whole number, 0 to 64, or follows .*cores/2"),
        ("num_workers = 2.5", None, r"num_workers = 2.5 in F, line 4: it is a whole number, 0 to 64, or a text such as"),
        ("num_workers = true", None, r"num_workers = true in F, line 4: it is a whole number"),
        ("num_workers = 65", None, r"num_workers = 65 in F, line 4: it must lie in 0 to 64"),
        ("batch_size = 0", None, r"batch_size = 0 in F, line 4: it must lie in 1 to 1024"),
        ("precision = 'fp8'", None, r"F, line 4: it is one of auto, fp32, fp16, bf16"),
        ("persistent_workers = 1", None, r"persistent_workers = 1 in F, line 4: it is true or false"),
        ("in_order = [\n  true,\n]", None, r"in_order = \[True\] in F, line 4: it is true or false"),
        ('title = """', None, r"F: not valid TOML"),
        ("num_workers = 2\nnum_workers = 3", None, r"F: not valid TOML: .*line 5"),
        ('prefetch_factor = "cores/gpus"', None, r"F, line 4: .*it divides by nothing"),
        ("num_workers = 0\n\nprefetch_factor = 4", None, r"num_workers = 0 contradicts prefetch_factor = 4 \(F, line 4 and line 6\): .*Leave prefetch_factor out, or give num_workers 1"),
        ("persistent_workers = true\nnum_workers = 0", None, r"contradicts persistent_workers = true \(F, line 5 and line 4\)"),
        ("val_patches_per_volume = 8\nval_every_epochs = 0", None, r"F, line 4 and line 5\): there is no validation"),
        ("num_workers = 49", ON_TWELVE, r"num_workers = 49 in F, line 4: 49 workers on 12 cores: .*At most 48"),
        ('num_workers = "5*cores"', ON_TWELVE, r"num_workers = 5\*cores in F, line 4: 60 workers on 12 cores"),
        ("val_num_workers = 6", TIGHT, r"val_num_workers = 6 in F, line 4: 6 workers × 4 threads = 24, and the cgroup allows 20 more"),
        ("num_workers = 3", HALF, r"num_workers = 3 in F, line 4: 3 workers on 2 CPUs of time .*At most 2"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_remedy(
    tmp_path: Path, text: str, machine: Machine | None, said: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"title = 'mine'\n\n[knobs]  # mine\n{text}\n")
    with pytest.raises(UsageError, match=said.replace("F", f"{tmp_path}/mine.toml")):
        load(file, machine)


@pytest.mark.parametrize(
    "text",
    [
        "num_workers = 0\npersistent_workers = false", "num_workers = 0", "prefetch_factor = 4\nnum_workers = 1",
        "val_patches_per_volume = 0\nval_every_epochs = 0", "num_workers = 48\nval_num_workers = 'cores'",
        "num_workers = 'cores-20'\nprefetch_factor = 2", "val_patches_per_volume = 8",
    ],
)
def test_what_agrees_is_taken(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[knobs]\n{text}\n")
    assert load(file, ON_TWELVE)[1]


def test_the_command_line_is_held_to_the_same(tmp_path: Path) -> None:
    assert profile.parse_settings(["num_workers=cores/2", "in_order=no"]) == {"num_workers": "cores/2", "in_order": False}
    # Given apart, neither is wrong: the file's prefetch_factor means nothing without workers.
    assert profile.parse_settings(["num_workers=0"]) == {"num_workers": 0}
    with pytest.raises(UsageError, match=r"contradicts prefetch_factor = 2 \(--set\)"):
        profile.parse_settings(["prefetch_factor=2", "num_workers=0"])
    with pytest.raises(UsageError, match=r"num_workers = 64 in --set: 64 workers on 12 cores"):
        profile.parse_settings(["num_workers=64"], ON_TWELVE)
    with pytest.raises(UsageError, match=r"num_workers = '1/cores\*\*2' in --set: it is a whole number"):
        profile.parse_settings(["num_workers=1/cores**2"])


KEYS = st.sampled_from(["a", "num_workers", '"quoted key"', "x.y", "long"])
VALUES = st.sampled_from(["1", '"text # none"', "[\n 1,\n 2, # two\n]", '\"\"\"\nnum_workers = 3\n\"\"\"', "{p = 1}", "2026-01-01"])
FILLING = st.sampled_from(["", "# num_workers = 3", "  # [knobs]"])


@given(st.lists(st.tuples(KEYS, VALUES, FILLING), unique_by=lambda row: row[0], max_size=5), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_the_line_of_a_key_is_where_its_statement_begins(
    rows: list[tuple[str, str, str]], head: bool, newline: str
) -> None:
    lines = ["# top", *(["[knobs] # the table"] if head else [])]
    begins = {}
    for key, value, filling in rows:
        lines += [filling] if filling else []
        begins[key] = len(lines) + 1
        lines += f"{key} = {value}".split("\n")
    text = newline.join(lines) + newline
    for key, line in begins.items():
        names = key.strip('"').split(".") if not key.startswith('"') else [key.strip('"')]
        assert line_of(text, *(["knobs"] if head else []), *names) == line
    assert line_of(text, "absent") is None


def test_a_users_own_profile_wins_over_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "profiles"
    own.mkdir()
    (own / "moderate.toml").write_text('title = "mine"\n[knobs]\nnum_workers = 9\n')
    (own / "broken.toml").write_text("title = [")
    entries = catalog.profiles(own)
    assert entries["moderate"].own
    assert catalog.profile_named("moderate", own) == ("mine", {"num_workers": 9})
    assert "conservative" in entries
    assert "not valid TOML" in entries["broken"].problem


def test_the_shipped_ones_are_shares_of_the_cores_there_are() -> None:
    """A third, a half and two thirds: 4, 6 and 8 of 12 cores, and one each on the smallest machine."""
    for cores, expected in ((12, (4, 6, 8)), (2, (1, 1, 1)), (1, (1, 1, 1)), (96, (32, 48, 64))):
        machine = Machine(cores=cores, scheduled=cores)
        workers = []
        for name in ("conservative", "moderate", "aggressive"):
            made, _ = resolve_profile(from_table({}, "x"), name, "", catalog.profile_named(name, machine=machine)[1], {}, machine=machine)
            workers.append(made["num_workers"])
            assert made.scaled["num_workers"].endswith(("cores/3", "cores/2"))
            assert (made["batch_size"], made["accumulate_steps"]) == (1, 1)
        assert tuple(workers) == expected


def test_no_shipped_profile_changes_what_is_learned_or_measured() -> None:
    for name in ("conservative", "moderate", "aggressive", "auto"):
        assert {KNOBS[knob].kind for knob in catalog.profile_named(name)[1]} == {profile.Kind.SPEED}


def test_every_value_of_a_shipped_profile_has_its_reason() -> None:
    for entry in catalog.profiles().values():
        body = entry.path.read_text().partition("[knobs]")[2]
        assert all("#" in line for line in body.splitlines() if "=" in line), entry.path


def test_a_value_that_follows_the_machine_is_recorded_with_its_text() -> None:
    experiment = from_table({"knobs": {"val_num_workers": "cores/4"}, "locks": {"batch_size": {"value": "2*gpus", "reason": "one a GPU"}}}, "x")
    machine = Machine(cores=12, scheduled=12, gpus=2)
    made, overridden = resolve_profile(experiment, "p", "", {"num_workers": "cores/2"}, {"prefetch_factor": "cores-9", "batch_size": 4}, machine=machine)
    assert (made["num_workers"], made["val_num_workers"], made["prefetch_factor"], made["batch_size"]) == (6, 3, 3, 4)
    assert made.scaled == {"num_workers": "cores/2", "val_num_workers": "cores/4", "prefetch_factor": "cores-9"}
    assert overridden == {}
    assert all(KNOBS[name].check(value) == value for name, value in made.knobs.items())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([], "nothing changes"),
        (["num_workers"], "speed only"),
        (["batch_size"], "changes the optimisation"),
        (["num_workers", "prefetch_factor"], "speed only; 2 knobs at once: the effect cannot be attributed to one"),
        (["num_workers", "batch_size", "val_every_epochs"], "changes the optimisation and changes the metric; 3 knobs at once: the effect cannot be attributed to one"),
    ],
)
def test_what_a_change_may_change_is_said(changed: list[str], said: str) -> None:
    assert profile.kind_of_change(changed) == said
