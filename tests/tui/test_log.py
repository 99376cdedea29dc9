"""Logs: the end of a file that somebody else is writing, whatever that somebody writes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.live.state import ExperimentState
from tests.tui.test_screens import settle, shown
from tui.app import SteptopApp
from tui.logfilter import matcher
from tui.logtail import LIMIT, LogTail
from tui.screens.log import LogScreen
from tui.widgets.logview import MAX_LINES, LogView

AppOver = Callable[..., SteptopApp]


# ---------------------------------------------------------------- reading


def test_whole_lines_come_once_and_the_half_one_is_shown_as_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    tail = LogTail(log)
    assert tail.read().missing
    log.write_bytes(b"one\ntwo\nthr")
    assert tail.read()[:2] == (["one", "two"], "thr")
    with log.open("ab") as file:
        file.write(b"ee\nfour")
    assert tail.read()[:2] == (["three"], "four")
    assert tail.read()[:2] == ([], "four")


def test_a_progress_bar_keeps_its_last_frame(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"start\n 10%|#  |\r 50%|## |\r 90%|###|")
    assert LogTail(log).read()[:2] == (["start"], " 90%|###|")


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"".join(b"line %07d\n" % i for i in range(100_000)))
    fresh = LogTail(log).read()
    assert fresh.lines[-1] == "line 0099999"
    assert fresh.skipped == log.stat().st_size - LIMIT
    assert all(line.startswith("line ") and len(line) == 12 for line in fresh.lines)


def test_a_flood_between_two_looks_is_jumped_over(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"begin\n")
    tail = LogTail(log)
    tail.read()
    with log.open("ab") as file:
        file.write(b"".join(b"flood %06d\n" % i for i in range(100_000)))
    fresh = tail.read()
    assert fresh.skipped > 0 and fresh.lines[-1] == "flood 099999"
    assert sum(map(len, fresh.lines)) <= LIMIT


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * 3_000_000)
    tail = LogTail(log)
    for _ in range(5):
        fresh = tail.read()
        assert fresh.lines == [] and len(fresh.unfinished) <= 4096
    assert len(tail._half) <= 8 << 10


def test_a_log_that_begins_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_text("old line\nanother\n")
    tail = LogTail(log)
    tail.read()
    log.write_text("new\n")
    fresh = tail.read()
    assert fresh.restarted and fresh.lines == ["new"]
    log.unlink()
    assert tail.read().missing


def test_binary_and_escape_sequences_come_out_as_text(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"\xff\xfe\x00\x01ok\n\x1b]0;title\x07red \x1b[31mred\x1b[0m\n")
    assert LogTail(log).read().lines == ["\ufffd\ufffd\ufffd\ufffdok", "red red"]


def test_a_pipe_in_the_place_of_a_log_does_not_hold_anything_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "console.log")
    assert LogTail(tmp_path / "console.log").read().lines == []


# ---------------------------------------------------------------- showing


@pytest.fixture
def logged(arc: ExperimentState, tmp_path: Path) -> ExperimentState:
    folder = tmp_path / "logs" / "x"
    (folder / "fold_0_restart_0").mkdir(parents=True)
    (folder / "fold_0_restart_0" / "console.log").write_text(
        "".join(f"epoch {i} loss {1 / (i + 1):.3f}\n" for i in range(200)) + "Error: no\n"
    )
    (folder / "supervisor.log").write_text("supervisor says hello\n")
    return msgspec.structs.replace(arc, folder=str(folder))


def shown_lines(app: SteptopApp) -> list[str]:
    view = app.screen.query_one(LogView)
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


async def test_the_end_is_shown_and_followed(app_over: AppOver, logged: ExperimentState) -> None:
    async with app_over(logged).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("l")
        await settle(pilot, lambda: "Error: no" in shown_lines(app))
        with (Path(logged.folder) / "fold_0_restart_0" / "console.log").open("a") as file:
            file.write("one more\n")
        await settle(pilot, lambda: "one more" in shown_lines(app))


async def test_scrolling_up_holds_the_place_and_f_follows_again(app_over: AppOver, logged: ExperimentState) -> None:
    async with app_over(logged).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("l")
        await settle(pilot, lambda: "Error: no" in shown_lines(app))
        await pilot.press("pageup")
        await pilot.pause()
        assert not app.screen.query_one(LogView).follow
        held = shown_lines(app)
        with (Path(logged.folder) / "fold_0_restart_0" / "console.log").open("a") as file:
            file.write("one more\n")
        await settle(pilot, lambda: app.screen.query_one(LogView).counts[0] == 202)
        assert shown_lines(app) == held
        await pilot.press("f")
        await settle(pilot, lambda: "one more" in shown_lines(app))


async def test_slash_filters_and_a_bad_expression_says_what_is_wrong(
    app_over: AppOver, logged: ExperimentState
) -> None:
    async with app_over(logged).run_test(size=(100, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("l")
        await settle(pilot, lambda: app.screen.query_one(LogView).counts[1] == 201)
        await pilot.press("slash", *"epoch", "space", *"19")
        await settle(pilot, lambda: app.screen.query_one(LogView).counts[0] == 11)
        await pilot.press("left_parenthesis")
        await pilot.pause()
        assert "not a regular expression" in str(app.screen.query_one("#log-title").visual)  # type: ignore[attr-defined]
        await pilot.press("escape")
        await settle(pilot, lambda: app.screen.query_one(LogView).counts[0] == 201)
        assert isinstance(app.screen, LogScreen)


@pytest.mark.timeout(60)
async def test_an_expression_that_backtracks_for_ever_elsewhere_answers_at_once(
    app_over: AppOver, logged: ExperimentState
) -> None:
    """Python's own `re` needs 2**40 steps for each of these lines."""
    console = Path(logged.folder) / "fold_0_restart_0" / "console.log"
    with console.open("a") as file:
        file.writelines(f"{'a' * 40}b {i}\n" for i in range(500))
        file.write(f"{'a' * 40}\n")
    async with app_over(logged).run_test(size=(100, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("l")
        await settle(pilot, lambda: app.screen.query_one(LogView).counts[1] == 702)
        view = app.screen.query_one(LogView)
        assert view.filter_by("(a+)+$") == ""
        assert view.counts[0] == 1
        assert view.filter_by("(a|aa)+b 49") == ""
        assert view.counts[0] == 11


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("loss", ["Loss 1", "loss 2", "epoch loss"]),
        ("Loss", ["Loss 1"]),
        ("^loss", ["Loss 1", "loss 2"]),
        ("^Loss", ["Loss 1"]),
        ("loss [0-9]", ["Loss 1", "loss 2"]),
        ("é.*!$", ["É là!"]),
        ("1.5", ["1.5 s", "1x5"]),
        (r"1\.5", ["1.5 s"]),
        (r"^loss \S", ["Loss 1", "loss 2"]),
    ],
)
def test_a_filter_is_a_text_or_an_expression_and_small_letters_match_both(pattern: str, found: list[str]) -> None:
    lines = ["Loss 1", "loss 2", "epoch loss", "É là!", "1.5 s", "1x5"]
    assert [line for line in lines if matcher(pattern)(line)] == found


@pytest.mark.parametrize("pattern", ["(", "[INFO", "a**", "(?=look)", r"(a)\1", "(x{1000}){1000}", "\udc80("])
def test_what_is_no_expression_says_so(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        matcher(pattern)


def test_only_an_expression_loads_the_engine_of_expressions() -> None:
    program = (
        "import sys\nfrom tui.logfilter import matcher\nassert matcher('loss')('a loss')\nassert 're2' not in sys.modules\n"
        "assert matcher('lo+')('a loss')\nassert 're2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_o_shows_the_other_logs(app_over: AppOver, logged: ExperimentState) -> None:
    async with app_over(logged).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("l", "o")
        await settle(pilot, lambda: "there is no such file yet" in str(app.screen.query_one("#log-title").visual))  # type: ignore[attr-defined]
        await pilot.press("o")
        await settle(pilot, lambda: "supervisor says hello" in shown_lines(app))


async def test_a_flood_of_a_hundred_thousand_lines_is_survived(app_over: AppOver, logged: ExperimentState) -> None:
    async with app_over(logged).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("l")
        await settle(pilot, lambda: app.screen.query_one(LogView).counts[1] == 201)
        with (Path(logged.folder) / "fold_0_restart_0" / "console.log").open("a") as file:
            file.writelines(f"flood {i}\n" for i in range(100_000))
        began = time.process_time()
        await settle(pilot, lambda: "flood 99999" in shown_lines(app))
        assert time.process_time() - began < 5
        assert app.screen.query_one(LogView).counts[1] <= MAX_LINES
