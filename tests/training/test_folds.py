"""Folds hold every subject out once, keep strata even, and do not depend on anything they should not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from engine.errors import DataError, UsageError
from engine.training.folds import Folds, Member, make_folds, table

MEMBERS = st.lists(
    st.builds(
        Member,
        id=st.text(min_size=1, max_size=6),
        lesion_mm3=st.floats(0, 1e6),
        acquisition=st.sampled_from(["space_2x", "space_no_accel", ""]),
    ),
    min_size=2, max_size=60, unique_by=lambda member: member.id,
)


def arc() -> list[Member]:
    """As many as ARC has, of each acquisition as many as it has; sizes spread as theirs are."""
    return [
        Member(
            id=f"sub-M{2000 + i}", lesion_mm3=203.0 * 1.035**i, acquisition="space_2x" if i < 115 else "space_no_accel"
        )
        for i in range(223)
    ]


def by_id(folds: Folds, members: list[Member]) -> list[set[str]]:
    return [{members[i].id for i in split.test} for split in folds.splits]


def test_223_subjects_train_on_148_149_149_as_the_study_did() -> None:
    folds = make_folds(arc(), 3, 42)
    assert [(len(s.train), len(s.test)) for s in folds.splits] == [(148, 75), (149, 74), (149, 74)]


def test_every_stratum_spreads_over_all_folds() -> None:
    members = [m for i, m in enumerate(arc()) if i % 9]
    folds = make_folds(members, 3, 42, ("acquisition",))
    assert folds.warnings == () and folds.stratified_by == ("acquisition",)
    spread = table(folds)
    assert set(spread) == {"all × space_2x", "all × space_no_accel"}
    assert all(max(counts) - min(counts) <= 1 for counts in spread.values())


def test_quartiles_times_acquisition_is_what_arc_gets() -> None:
    members = [Member(id=f"s{i:03}", lesion_mm3=float(i), acquisition="ab"[i % 2]) for i in range(223)]
    folds = make_folds(members, 3, 42)
    assert folds.stratified_by == ("lesion size in quartiles", "acquisition") and folds.warnings == ()
    assert len(table(folds)) == 8
    for i, word in ((0, "smallest quarter × a"), (222, "largest quarter × a"), (60, "second quarter × a")):
        assert folds.strata[i] == word


@given(members=MEMBERS, folds=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_every_subject_is_held_out_once_and_sizes_are_even(members: list[Member], folds: int, seed: int) -> None:
    if len(members) < folds:
        with pytest.raises(DataError, match=f"at least {folds} subjects, not {len(members)}"):
            make_folds(members, folds, seed)
        return
    made = make_folds(members, folds, seed)
    everyone = set(range(len(members)))
    assert sorted(i for split in made.splits for i in split.test) == sorted(everyone)
    assert all(set(split.train) == everyone - set(split.test) and split.train for split in made.splits)
    sizes = [len(split.test) for split in made.splits]
    assert max(sizes) - min(sizes) <= 1 and sizes == sorted(sizes, reverse=True)
    for counts in table(made).values():
        assert max(counts) - min(counts) <= 1
    if made.stratified_by:
        assert min(Counter(made.strata).values()) >= folds


@given(members=MEMBERS, seed=st.integers(0, 99), data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_order_in_which_subjects_are_listed_does_not_matter(members: list[Member], seed: int, data) -> None:
    shuffled = data.draw(st.permutations(members))
    assert by_id(make_folds(members, 2, seed), members) == by_id(make_folds(shuffled, 2, seed), shuffled)


def test_another_seed_gives_other_folds_and_the_same_seed_the_same() -> None:
    members = arc()
    assert make_folds(members, 3, 42) == make_folds(members, 3, 42)
    assert by_id(make_folds(members, 3, 42), members) != by_id(make_folds(members, 3, 43), members)


def test_these_very_folds_stay_as_they_are() -> None:
    """A run's identity holds its folds: another shuffle in another version would mix two experiments up."""
    members = [Member(id=f"s{i}", lesion_mm3=float(i), acquisition="ab"[i % 2]) for i in range(16)]
    assert [split.test for split in make_folds(members, 2, 42).splits] == [
        (0, 3, 6, 7, 8, 11, 12, 13), (1, 2, 4, 5, 9, 10, 14, 15)
    ]


@pytest.mark.parametrize(
    ("members", "folds", "by", "said"),
    [
        (
            [Member(id=f"s{i}", lesion_mm3=i, acquisition="rare" if i == 0 else "common") for i in range(24)], 3,
            ("lesion size in quartiles",), "“smallest quarter × rare” has 1 of the 3 subjects that 3 folds need",
        ),
        (
            [Member(id=f"s{i}", lesion_mm3=i, acquisition="ab"[i % 2]) for i in range(10)], 4,
            ("lesion size in halves",), "the folds are stratified by lesion size in halves only",
        ),
        (
            [Member(id=f"s{i}", lesion_mm3=i) for i in range(5)], 4, (), "the folds are not stratified, only shuffled",
        ),
    ],
)
def test_too_small_a_stratum_falls_back_and_says_so(
    members: list[Member], folds: int, by: tuple[str, ...], said: str
) -> None:
    made = make_folds(members, folds, 1)
    assert made.stratified_by == by
    assert len(made.warnings) == 1 and said in made.warnings[0]


def test_not_to_stratify_is_no_reason_to_warn() -> None:
    made = make_folds(arc(), 3, 42, ())
    assert made.stratified_by == () and made.warnings == () and set(made.strata) == {"all"}


@given(
    groups=st.lists(st.integers(0, 12), min_size=4, max_size=50), folds=st.integers(2, 4), seed=st.integers(0, 9)
)
@settings(max_examples=100, deadline=None)
def test_a_persons_sessions_never_stand_on_both_sides(groups: list[int], folds: int, seed: int) -> None:
    members = [Member(id=f"s{i}", lesion_mm3=float(i), group=f"sub-{g}") for i, g in enumerate(groups)]
    if len(set(groups)) < folds:
        with pytest.raises(DataError, match="persons"):
            make_folds(members, folds, seed)
        return
    for split in make_folds(members, folds, seed).splits:
        assert not {members[i].group for i in split.train} & {members[i].group for i in split.test}


def test_an_unknown_stratification_is_a_usage_error_with_the_right_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'lesion_size'"):
        make_folds(arc(), 3, 42, ("lesion_sise",))


def test_strata_are_told_from_the_smallest_lesions_to_the_largest() -> None:
    members = [Member(id=f"{i}", lesion_mm3=float(i), acquisition="ab"[i % 2]) for i in range(64)]
    words = list(table(make_folds(members, 2, 0)))
    assert [word.partition(" × ")[0] for word in words[::2]] == [
        "smallest quarter", "second quarter", "third quarter", "largest quarter"
    ]
    assert words[:2] == ["smallest quarter × a", "smallest quarter × b"]
