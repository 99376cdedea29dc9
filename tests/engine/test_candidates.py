"""Profiles that a training could go on with: resolved as a launch would, and honest about what cannot be."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Plan
from engine.config.profile import defaults
from engine.config.tables import Lock
from engine.diagnosis.candidates import candidates, every_profile, following
from engine.live import state
from engine.machine.cores import Machine
from engine.phase.plans import Wanted
from tests.recordings import ARC, plan_for

TWELVE = Machine(cores=12, scheduled=12, gpus=1)


@pytest.fixture
def plan() -> Plan:
    """One worker on twelve cores."""
    return plan_for(ARC, "arc")


def test_the_first_that_differs_only_in_the_loader_comes_next(plan: Plan, tmp_path: Path) -> None:
    found = candidates(plan, every_profile(), tmp_path, machine=TWELVE)
    by_name = {one.name: one for one in found}
    assert by_name["conservative"].knobs["num_workers"] == 4
    assert by_name["conservative"].scaled["num_workers"] == "cores/3"
    assert by_name["aggressive"].changed["num_workers"] == 8
    coming = following([by_name["conservative"], by_name["aggressive"]])
    assert coming is not None and coming.name == "conservative" and not coming.fixed


def test_what_was_tried_does_not_come_again(plan: Plan, tmp_path: Path) -> None:
    wanted = (Wanted(name="2", knobs={"num_workers": 2}), Wanted(name="3", knobs={"num_workers": 3}))
    tested = (state.Tested(name="2", knobs=plan.profile.knobs | {"num_workers": 2}),)
    coming = following(candidates(plan, wanted, tmp_path, tested, TWELVE))
    assert coming is not None and coming.name == "3"


def test_a_batch_size_cannot_be_taken_up_and_what_changes_nothing_is_no_candidate(plan: Plan, tmp_path: Path) -> None:
    wanted = (Wanted(name="batch", knobs={"batch_size": 2}), Wanted(name="same", knobs={"num_workers": 1}))
    batch, same = candidates(plan, wanted, tmp_path, machine=TWELVE)
    assert batch.fixed == ("batch_size",) and not batch.possible
    assert not same.changed and not same.possible
    assert following((batch, same)) is None


def test_locks_hold_and_mistakes_are_said(plan: Plan, tmp_path: Path) -> None:
    locks = {"num_workers": Lock(value=1, reason="the disk is shared")}
    locked = msgspec.structs.replace(plan, experiment=msgspec.structs.replace(plan.experiment, locks=locks))
    wanted = (
        Wanted(name="two", knobs={"num_workers": 2}),
        Wanted(name="moderate", profile="moderate"),
        Wanted(name="wrong", knobs={"num_wokers": 2}, where="mine.toml, line 3"),
    )
    two, moderate, wrong = candidates(locked, wanted, tmp_path, machine=TWELVE)
    assert "the disk is shared" in two.problem and following((two,)) is None
    assert "num_workers" not in moderate.changed, "a profile yields to a lock"
    assert "mine.toml, line 3" in wrong.problem and "num_workers" in wrong.problem


def test_a_knob_that_the_tested_profile_did_not_know_had_its_default(plan: Plan, tmp_path: Path) -> None:
    old = {name: value for name, value in (defaults() | {"num_workers": 2}).items() if name != "cache"}
    wanted = (Wanted(name="2", knobs={"num_workers": 2}),)
    (one,) = candidates(plan, wanted, tmp_path, (state.Tested(name="2", knobs=plan.profile.knobs | old),), TWELVE)
    assert one.tried
