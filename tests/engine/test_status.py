"""The contract of `steptop status`: what is of this moment and what is not, in JSON and in text."""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec
import pytest

from engine import status as contract
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.status import OLD_SECONDS, MachineStatus, Status, StopStatus, status
from tests.recordings import state_of, write_recording
from tui.verbs.showing import status_lines

DOCS = Path(__file__).parents[2] / "docs" / "status.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("logs") / "arc"
    write_recording(made, "arc", 0.25)
    return made


@pytest.fixture
def running(folder: Path) -> ExperimentState:
    """As it was at its last record, with a reading of that very moment."""
    state = state_of(folder)
    return msgspec.structs.replace(state, now=state.samples[-1].t + 1.0, supervisor_alive=True, trainer_alive=True)


def machine_text(state: ExperimentState) -> str:
    return "\n".join(line for line in status_lines(state) if "cores" in line or " GPU 0" in line)


def test_a_reading_of_this_moment_is_current(running: ExperimentState) -> None:
    found = status(running).machine
    assert found.current
    assert found.at == running.samples[-1].t
    assert found.bytes_per_hour is not None
    assert "at " not in machine_text(running)


def test_an_old_reading_says_of_when_it_is_and_has_no_trend(running: ExperimentState) -> None:
    later = msgspec.structs.replace(running, now=running.samples[-1].t + OLD_SECONDS + 1)
    found = status(later).machine
    assert (found.current, found.at) == (False, running.samples[-1].t)
    assert (found.bytes_per_hour, found.full_in_seconds) == (None, None)
    read = time.strftime("%H:%M", time.localtime(found.at))
    lines = machine_text(later).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"  at {read}: ") for line in lines)


def test_an_ended_experiment_has_no_present_machine(folder: Path, running: ExperimentState) -> None:
    ended = msgspec.structs.replace(running, phase="stopped")
    assert not status(ended).machine.current
    assert "  at " in machine_text(ended)
    lost = Watch(folder).poll()
    assert lost.phase == "lost"
    assert not status(lost).machine.current


def test_without_a_reading_nothing_is_current(running: ExperimentState) -> None:
    found = status(msgspec.structs.replace(running, samples=())).machine
    assert (found.at, found.current, found.cores) == (None, False, None)


def test_a_stop_promised_at_launch_is_planned_with_the_runs_left(running: ExperimentState) -> None:
    planned = msgspec.structs.replace(running, stop_after_runs=3, runs_ended_here=1)
    found = status(planned).stop
    assert found is not None
    assert (found.mode, found.phase, found.after_runs, found.since) == ("after_run", "planned", 2, planned.plan.created)
    assert any("stop after 2 more runs: planned" in line for line in status_lines(planned))
    last = msgspec.structs.replace(planned, runs_ended_here=2)
    found = status(last).stop
    assert found is not None
    assert found.after_runs == 1
    assert found.at == status(last).forecast.run.at is not None
    assert any("stop after this run: planned" in line for line in status_lines(last))


def test_no_stop_is_planned_once_it_is_kept_or_all_has_ended(running: ExperimentState) -> None:
    assert status(running).stop is None
    assert status(msgspec.structs.replace(running, stop_after_runs=1, runs_ended_here=1)).stop is None
    assert status(msgspec.structs.replace(running, stop_after_runs=3, phase="finished")).stop is None


def test_every_field_of_the_contract_is_documented() -> None:
    words = set(re.findall(r"\w+", DOCS.read_text()))
    kinds = [value for value in vars(contract).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)]
    assert {Status, MachineStatus, StopStatus} <= set(kinds)
    own = [kind for kind in kinds if kind.__module__ == "engine.status_contract"]
    assert len(own) > 10
    fields = {name for kind in own for name in kind.__struct_fields__}
    assert fields - words == set()
