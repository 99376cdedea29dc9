"""A recording played again: at every moment what a look at that moment would have found, and no more is read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.journals import journal
from engine.journals.events import Note, decode_many, encode
from engine.journals.journal import Reader, offset_after
from engine.live.history import History
from engine.live.replay import Replay
from engine.live.state import ExperimentState, new_experiment
from engine.paths import ExperimentPaths, write_json
from tests.benchmarks.open_run import write_long_run
from tests.recordings import write_recording

LONG = 20_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("logs") / "quickstart"
    write_recording(made, "quickstart", 2.5)
    return made


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("logs") / "long"
    write_long_run(made, LONG)
    return made


def cut(folder: Path, to: Path, moment: float) -> ExperimentState:
    """The journals as they were at `moment`, folded whole."""
    for file in (*folder.glob("*.jsonl"), *folder.glob("*/*.jsonl")):
        copy = to / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"".join(encode(r) for r in journal.read(file) if r.t <= moment))
    plan = Replay(folder)._state.plan
    return History(ExperimentPaths(to), Reader).fold(new_experiment(str(folder), plan))


def test_at_every_moment_it_is_what_the_journals_said_then(folder: Path, tmp_path: Path) -> None:
    replay, rng = Replay(folder), random.Random(3)
    moments = sorted(rng.uniform(replay.begins, replay.ends) for _ in range(12))
    for number, moment in enumerate([*moments, replay.ends]):
        played, then = replay.state_at(moment), cut(folder, tmp_path / str(number), moment)
        for name in ("phase", "current", "runs", "sentences", "samples", "preparing", "stop", "ended", "gaps"):
            assert getattr(played, name) == getattr(then, name), (number, name)
        assert played.now == moment
    assert replay.over


def test_the_first_look_agrees_with_the_whole_one_on_where_it_is(folder: Path) -> None:
    for at in (0.0, 0.2, 0.5, 0.8, 1.0):
        replay = Replay(folder, at=at, clock=lambda: 0.0)
        quick, whole = replay.quick(), replay.poll()
        assert (quick.partial, whole.partial) == (True, False)
        assert (quick.now, quick.now_monotonic) == (whole.now, whole.now_monotonic)
        assert (quick.phase, quick.current, quick.runs_finished) == (whole.phase, whole.current, whole.runs_finished)
        if whole.run is not None:
            assert quick.run is not None
            for name in ("key", "step", "epoch", "attempt", "loss", "phase", "activity"):
                assert getattr(quick.run, name) == getattr(whole.run, name), (at, name)


def read_bytes() -> int:
    """What this process has read so far, from files or whatever else."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def test_only_what_lies_before_the_playhead_is_read(long: Path) -> None:
    size = ExperimentPaths(long).run(0, 0).segment(1).stat().st_size
    before = read_bytes()
    replay = Replay(long, at=0.0, clock=lambda: 0.0)
    replay.quick()
    assert replay.poll().run is not None
    assert read_bytes() - before < size / 4


def test_the_first_look_in_the_middle_reads_no_more(long: Path) -> None:
    size = ExperimentPaths(long).run(0, 0).segment(1).stat().st_size
    before = read_bytes()
    run = Replay(long, at=0.5, clock=lambda: 0.0).quick().run
    assert run is not None
    assert LONG * 0.4 < run.step < LONG * 0.6
    assert read_bytes() - before < size / 4


def test_a_clock_that_was_set_back_holds_nothing_up(folder: Path, tmp_path: Path) -> None:
    """Between two records the clock had been a day ahead."""
    paths = ExperimentPaths(tmp_path / "back")
    paths.folder.mkdir()
    write_json(paths.plan, Replay(folder)._state.plan)
    times = (100.0, 101.0, 86_500.0, 102.0, 103.0)
    paths.events.write_bytes(b"".join(encode(Note(text=f"note {i}", t=t)) for i, t in enumerate(times)))
    replay = Replay(paths.folder)
    assert (replay.begins, replay.ends) == (100.0, 103.0)
    assert [s.text for s in replay.state_at(101.5).sentences] == ["note 0", "note 1"]
    assert len(replay.state_at(replay.ends).sentences) == 5
    assert replay.over


def test_a_folder_without_records_cannot_be_replayed(folder: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", Replay(folder)._state.plan)
    (tmp_path / "events.jsonl").write_text("damaged\n")
    with pytest.raises(UsageError, match="no records to replay"):
        Replay(tmp_path)


def test_a_moment_is_found_in_a_journal_with_lines_of_every_length(tmp_path: Path) -> None:
    rng, path = random.Random(5), tmp_path / "journal.jsonl"
    texts = ["x" * rng.choice((1, 100, 5_000, 70_000)) for _ in range(60)]
    lines = [encode(Note(text=text, t=float(i + 1))) for i, text in enumerate(texts)]
    lines[30] = b"damaged " * 4_000 + b"\n"
    path.write_bytes(b"".join(lines))
    ends = {0}
    for line in lines:
        ends.add(max(ends) + len(line))
    longest = max(map(len, lines))
    for moment in (0.0, 0.5, *(i + 0.5 for i in range(1, 61)), 1e9):
        offset = offset_after(path, moment, grain=1_000)
        assert offset in ends
        written = [record.t for record in decode_many(path.read_bytes()[:offset])[0]]
        assert [t for t in written if t <= moment] == [float(i + 1) for i in range(60) if i != 30 and i + 1 <= moment]
        assert sum(len(lines[int(t) - 1]) for t in written if t > moment) <= 1_000 + 2 * longest
    assert offset_after(tmp_path / "missing.jsonl", 1.0) == 0
