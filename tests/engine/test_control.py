"""Requests as files: they wait for a reader, are answered once, and a stranger's are passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.paths import ExperimentPaths, checked_name, read_json, write_atomic, write_json
from engine.runs import control


@pytest.fixture
def paths(tmp_path: Path) -> ExperimentPaths:
    return ExperimentPaths(tmp_path)


def test_a_request_waits_until_it_is_answered(paths: ExperimentPaths) -> None:
    first = control.request(paths, "stop_after_run", by="me")
    second = control.request(paths, "stop_cancel")
    waiting = control.pending(paths)
    assert [asked.id for asked in waiting] == [first, second]
    assert waiting[0].by == "me"
    control.answer(paths, waiting[0], True, "acknowledged")
    assert [asked.id for asked in control.pending(paths)] == [second]
    answer = control.answer_to(paths, first)
    assert answer is not None
    assert answer.accepted
    assert control.answer_to(paths, second) is None


def test_rubbish_in_the_control_folder_is_passed_over(paths: ExperimentPaths) -> None:
    wanted = control.request(paths, "stop_now")
    (paths.control / "a.json").write_text("{")
    (paths.control / "b.json").write_text('{"id":"b","verb":"format_disk"}')
    (paths.control / "c.json").write_text('{"id":"other","verb":"stop_now"}')
    (paths.control / "d.txt").write_text("hello")
    os.symlink("/etc/passwd", paths.control / "e.json")
    assert [asked.id for asked in control.pending(paths)] == [wanted]


def test_an_atomic_write_leaves_the_old_file_when_it_cannot_finish(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # type: ignore[arg-type]
    assert read_json(path, dict) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", ".hidden", "a..b", "x" * 65, "é", "a b", "a\x1b]0;x\x07"])
def test_names_that_cannot_be_folders_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be an experiment's name"):
        checked_name(name)
