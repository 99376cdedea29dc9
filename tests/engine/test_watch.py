"""Following an experiment: what is seen at once, what is seen in the end, and that nothing read breaks it."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from engine import status
from engine.errors import UsageError
from engine.journals.events import Note, encode
from engine.journals.journal import read_ends
from engine.live.replay import Replay
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.runs import control
from tests.recordings import write_recording


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_recording(tmp_path / "arc", "arc", 1.4)
    return tmp_path / "arc"


def test_the_first_look_agrees_with_the_whole_history_on_where_it_is(folder: Path) -> None:
    watch = Watch(folder)
    quick, whole = watch.quick(), watch.poll()
    assert quick.partial
    assert not whole.partial
    assert quick.run is not None
    assert whole.run is not None
    for name in ("key", "step", "epoch", "epochs", "steps_per_epoch", "attempt", "loss", "phase"):
        assert getattr(quick.run, name) == getattr(whole.run, name), name
    assert quick.phase == whole.phase
    assert quick.runs_finished == whole.runs_finished == 1


def test_a_second_look_without_news_changes_nothing(folder: Path) -> None:
    watch = Watch(folder)
    first, second = watch.poll(), watch.poll()
    assert first.runs == second.runs
    assert first.sentences == second.sentences
    assert first.samples == second.samples


def test_what_is_appended_is_seen_once(folder: Path) -> None:
    watch = Watch(folder)
    watch.poll()
    with ExperimentPaths(folder).events.open("ab") as file:
        file.write(encode(Note(text="hello", t=9e9)))
    assert [s.text for s in watch.poll().sentences].count("hello") == 1
    assert [s.text for s in watch.poll().sentences].count("hello") == 1


def test_without_supervisor_and_trainer_and_last_line_it_is_lost(folder: Path) -> None:
    state = Watch(folder).poll()
    assert state.phase == "lost"
    assert state.runs[0].phase == "finished"
    assert state.runs[1].phase == "lost"
    assert state.verdict is not None
    assert "resume" in state.verdict.advice


def test_a_stop_that_nobody_read_yet_is_shown_as_requested(folder: Path) -> None:
    name = control.request(ExperimentPaths(folder), "stop_after_run")
    watch = Watch(folder)
    stop = watch._asked()
    assert stop is not None
    assert (stop.id, stop.mode, stop.phase) == (name, "after_run", "requested")


def test_random_damage_to_any_journal_never_breaks_the_look(folder: Path) -> None:
    rng = random.Random(7)
    files = [*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl"), folder / "data.json"]
    originals = {file: file.read_bytes() for file in files if file.stat().st_size}
    for _ in range(10):
        for file, original in originals.items():
            content = bytearray(original)
            for _ in range(3):
                content[rng.randrange(len(content))] = rng.randrange(256)
            file.write_bytes(content[: rng.randrange(len(content) // 2, len(content) + 1)])
        watch = Watch(folder)
        status.status(watch.quick())
        state = watch.poll()
        assert len(state.runs) == 30
        msgspec.json.encode(status.status(state))


def test_a_folder_without_a_plan_is_no_experiment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no readable plan\.json"):
        Watch(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UsageError, match="not an experiment"):
        Watch(tmp_path)


def test_a_journal_that_is_removed_underneath_is_survived(folder: Path) -> None:
    watch = Watch(folder)
    before = watch.poll()
    ExperimentPaths(folder).machine.unlink()
    assert watch.poll().samples == before.samples


def test_a_replay_goes_from_nothing_to_the_end(folder: Path) -> None:
    clock = [0.0]
    replay = Replay(folder, speed=1000.0, clock=lambda: clock[0])
    first = replay.poll()
    assert first.runs_finished == 0
    seen = set()
    while not replay.over:
        clock[0] += 20.0
        state = replay.poll()
        seen.add(state.phase)
    assert "running" in seen
    assert state.runs_finished == 1
    assert state.run is not None
    whole = Watch(folder).poll()
    assert whole.run is not None
    assert state.run.step == whole.run.step


def test_a_replay_may_begin_in_the_middle(folder: Path) -> None:
    replay = Replay(folder, speed=1.0, at=0.9, clock=lambda: 0.0)
    assert replay.poll().runs_finished == 1


def test_the_ends_of_a_missing_journal_are_empty(tmp_path: Path) -> None:
    assert read_ends(tmp_path / "nothing.jsonl") == ([], 0)
