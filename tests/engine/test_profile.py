"""Profiles: every knob declared once, checked everywhere, and refused in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from engine import catalog, profile
from engine.errors import UsageError
from engine.profile import KNOBS


def values_of(knob: profile.Knob) -> st.SearchStrategy[object]:
    if knob.choices:
        return st.sampled_from(knob.choices)
    if isinstance(knob.default, bool):
        return st.booleans()
    return st.integers(knob.low, knob.high)


def test_every_shipped_profile_loads_and_says_what_it_is_for() -> None:
    entries = catalog.profiles()
    assert {"conservative", "moderate", "aggressive"} <= set(entries)
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
    with pytest.raises(UsageError, match=r"'num_worker'.*mine\.toml.*did you mean 'num_workers'"):
        profile.load(file)
    with pytest.raises(UsageError, match="did you mean 'prefetch_factor'"):
        profile.parse_settings(["prefetch=3"])


def test_a_value_of_the_wrong_kind_names_the_file_and_what_is_right(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[knobs]\nnum_workers = "many"\n')
    with pytest.raises(UsageError, match=r"num_workers = 'many' in .*mine\.toml: it is a whole number, 0 to 64"):
        profile.load(file)
    file.write_text("[knobs]\nprecision = 'fp8'\n")
    with pytest.raises(UsageError, match="auto, fp32, fp16, bf16"):
        profile.load(file)
    file.write_text("[knobs\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        profile.load(file)


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
