"""A profile that is edited, as data: one knob, undo, reset, another profile, and what goes into a file."""

from __future__ import annotations

import pytest

from engine.config.profile import KNOBS, defaults
from engine.errors import UsageError
from engine.machine.cores import Machine
from tui import draft as drafts
from tui.draft import draft_of, stepped, to_save, with_knob

TWELVE = Machine(cores=12, scheduled=12, gpus=1)


def test_undo_goes_back_change_by_change_and_redo_forth() -> None:
    begun = draft_of("moderate", {"num_workers": 1})
    more = with_knob(with_knob(begun, "num_workers", 2, TWELVE), "prefetch_factor", 4, TWELVE)
    back = drafts.undone(drafts.undone(more))
    assert back.knobs == begun.knobs and drafts.undone(back) == back
    assert drafts.redone(drafts.redone(back)).knobs == more.knobs
    branched = with_knob(drafts.undone(more), "pin_memory", False, TWELVE)
    assert drafts.redone(branched) == branched, "what was undone is gone once something else was changed"


def test_a_value_that_changes_nothing_is_no_change() -> None:
    begun = draft_of("moderate", {"num_workers": 4})
    assert with_knob(begun, "num_workers", 4, TWELVE) == begun
    assert drafts.reset(begun) == begun


def test_reset_and_loading_can_be_undone() -> None:
    edited = with_knob(draft_of("moderate", {}), "num_workers", 5, TWELVE)
    assert drafts.undone(drafts.reset(edited)).knobs == edited.knobs
    other = drafts.loaded(edited, "aggressive", {"num_workers": 8}, {"num_workers": "2*cores/3"})
    assert (other.now.name, other.knobs["num_workers"]) == ("aggressive", 8)
    assert drafts.undone(other).now == edited.now


def test_a_value_follows_the_machine_until_it_is_given_as_a_number() -> None:
    following = with_knob(draft_of("mine", {}), "num_workers", "cores/2", TWELVE)
    assert following.knobs["num_workers"] == 6
    assert following.now.scaled == {"num_workers": "cores/2"}
    assert with_knob(following, "num_workers", 7, TWELVE).now.scaled == {}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("num_workers", 65, "0 to 64"),
        ("num_workers", 50, "At most 48"),
        ("num_workers", "corse/2", "cores/2"),
        ("cache", "tape", "one of disk, ram, none"),
        ("batch_size", 0, "1 to 1024"),
    ],
)
def test_what_cannot_be_is_refused_with_the_range(name: str, value: int | str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_knob(draft_of("mine", {}), name, value, TWELVE)


def test_stepping_stays_in_range_and_choices_go_round() -> None:
    assert stepped(KNOBS["num_workers"], 0, -1) == 0
    assert stepped(KNOBS["num_workers"], 64, 1) == 64
    assert stepped(KNOBS["cache"], "none", 1) == "disk"
    assert stepped(KNOBS["cache"], "disk", -1) == "none"
    assert stepped(KNOBS["pin_memory"], True, -1) is False


def test_a_training_that_changed_meanwhile_leaves_the_edited_values() -> None:
    edited = with_knob(draft_of("conservative", {"num_workers": 1}), "num_workers", 4, TWELVE)
    moved = drafts.rebased(edited, "moderate", {"num_workers": 2})
    assert moved.knobs["num_workers"] == 4 and drafts.reset(moved).knobs["num_workers"] == 2
    untouched = drafts.rebased(draft_of("conservative", {"num_workers": 1}), "moderate", {"num_workers": 2})
    assert untouched.now.name == "moderate" and not untouched.past


def test_a_file_gets_what_its_base_sets_and_what_differs() -> None:
    version = with_knob(draft_of("mine", {"batch_size": 8}), "num_workers", "cores-1", TWELVE).now
    saved = to_save(version, held={"batch_size": 8}, base={"pin_memory": True})
    assert saved == {"num_workers": "cores-1", "pin_memory": True}, "the experiment's own batch_size is not repeated"


def test_a_file_without_validation_sets_no_patches_for_it() -> None:
    version = draft_of("mine", defaults() | {"val_patches_per_volume": 8}).now
    assert "val_patches_per_volume" not in to_save(version, held={}, base={})


def test_a_knob_that_was_not_edited_goes_on_following_the_machine() -> None:
    """Only prefetching is changed: the workers stay a share of the cores, in the file too."""
    begun = draft_of("mine", {"num_workers": 4, "prefetch_factor": 2}, {"num_workers": "cores/3"})
    edited = with_knob(begun, "prefetch_factor", 3, TWELVE)
    assert to_save(edited.now, {}, {"num_workers": "cores/3"}) == {"num_workers": "cores/3", "prefetch_factor": 3}
    assert to_save(with_knob(edited, "num_workers", 5, TWELVE).now, {}, {})["num_workers"] == 5
    moved = drafts.rebased(begun, "mine", {"num_workers": 4, "prefetch_factor": 6}, {"num_workers": "cores/3"})
    assert moved.now.scaled == {"num_workers": "cores/3"}
