"""Runs that go on side by side on the dashboard: all of them are seen, one of them in full, and a key takes the next."""

from __future__ import annotations

import msgspec
import pytest
from textual.message import Message

from engine.beside import side_by_side
from engine.live.history import with_run
from engine.live.state import ExperimentState, RunState, Sentence
from engine.process import boot_id
from engine.status import status
from tests.conftest import wait_until
from tests.tui.at_once import at_once
from tests.tui.conftest import Held, stopping, view
from tests.tui.test_lines import roles_of, texts
from tests.tui.test_screens import AppOver, screen_text, settle, shown
from tui import alert
from tui.messages import StateChanged
from tui.monitor import Monitor
from tui.screens.confirm import force_question, stop_now_question
from tui.verbs.showing import status_lines
from tui.widgets.banner import banner_lines
from tui.widgets.events import events_lines
from tui.widgets.header import header_line
from tui.widgets.line import cut, text_of, width_of
from tui.widgets.panel import Panel
from tui.widgets.progress import ProgressPanel, progress_lines
from tui.widgets.runs import RunsPanel, runs_lines
from tui.widgets.sidebyside import SideBySide, listed, side_lines


@pytest.fixture
def two(arc: ExperimentState) -> ExperimentState:
    return at_once(arc)


def lines_of(state: ExperimentState, width: int = 118, rows: int = 40, height: int = 4) -> list[str]:
    seen = view(state)
    return texts(side_lines(seen, listed(seen, rows), width, height))


def title_of(panel: Panel) -> str:
    return str(panel._border_title)


# ---------------------------------------------------------------- what is said of each


def test_each_has_a_line_with_step_loss_pace_end_and_device(two: ExperimentState) -> None:
    first, second = lines_of(two)
    assert first.startswith("▸ ● run 1  fold 0 restart 0 ") and second.startswith("  ● run 2  fold 0 restart 1 ")
    assert "1,850/7,400" in first and "1,750/7,400" in second
    assert "loss 0.393" in first and "loss 0.493" in second
    assert "17.9 s/step" in first and "35.9 s/step" in second
    assert "ends Sun" in first and first.endswith("GPU 0") and second.endswith("GPU 1")


def test_each_ends_by_its_own_pace_and_evaluation(two: ExperimentState) -> None:
    one, other = side_by_side(two)
    assert one.ends.at == view(two).forecast.run.at
    assert other.ends.seconds is not None and one.ends.seconds is not None
    assert other.ends.seconds > one.ends.seconds


def test_one_alone_has_no_line(arc: ExperimentState) -> None:
    assert view(arc).beside == () and lines_of(arc) == []


def test_on_a_low_terminal_only_the_others_have_one(two: ExperimentState) -> None:
    (line,) = lines_of(two, width=78, rows=24, height=2)
    assert line.startswith("● run 2  fold 0.1 ")
    for words in ("1,750/7,400", "loss 0.493", "35.9 s/step", "ends ", "GPU 1"):
        assert words in line


@pytest.mark.parametrize("slots", [2, 3, 5, 9])
@pytest.mark.parametrize("height", [1, 2, 4])
@pytest.mark.parametrize("width", [58, 78, 118, 198])
def test_all_that_fit_are_named_and_of_the_others_how_many_there_are(
    arc: ExperimentState, slots: int, height: int, width: int
) -> None:
    seen = view(at_once(arc, slots, ()))
    drawn = side_lines(seen, seen.beside, width, height)
    assert len(drawn) <= height and all(width_of(line) <= width for line in drawn)
    said = " ".join(texts(drawn))
    named = sum(f"run {number} " in f"{said} " for number in range(1, slots + 1))
    assert named == slots or f"and {slots - named} more: ] goes on" in said


def test_a_hang_beside_is_red_where_it_is_and_not_elsewhere(two: ExperimentState) -> None:
    run = two.runs[1]
    assert run.begin is not None
    begin = msgspec.structs.replace(run.begin, boot_id=boot_id())
    silent = msgspec.structs.replace(run, begin=begin, last_monotonic=two.now_monotonic - 1000)
    state = msgspec.structs.replace(with_run(two, 1, silent), stalled_seconds=1000.0)
    seen = view(state)
    drawn = side_lines(seen, seen.beside, 118, 4)
    assert roles_of(drawn, "nothing for 16m 40s") == {"alarm"} and "nothing for" not in texts(drawn)[0]
    assert "run 2 stalled 16m 40s" in text_of(header_line(seen, 120))
    assert texts(progress_lines(seen, 76, 5))[3].startswith("now    training")


def test_what_went_wrong_beside_is_among_the_events_with_its_run(two: ExperimentState) -> None:
    news = (Sentence(two.now, "epoch 12 done"), Sentence(two.now, "step time 2.0 times slower", "warn"))
    state = with_run(two, 1, msgspec.structs.replace(two.runs[1], sentences=news))
    said = texts(events_lines(view(state), 100, 6))
    assert any("run 2: step time 2.0 times slower" in line for line in said)
    assert not any("run 2: epoch 12" in line for line in said)


def test_what_stops_them_names_all_of_them(two: ExperimentState) -> None:
    (line,), _ = banner_lines(view(stopping(two)), "", 118)
    assert " ■ stops after runs 1 and 2, " in text_of(line)
    assert "each finishes its step" in text_of(banner_lines(view(stopping(two, "now")), "", 118)[0][0])
    question = stop_now_question(view(two))
    assert question.title == "Stop runs 1 and 2 of arc-meshnet26 now?" and "Each finishes its step" in question.text
    force = force_question(view(two)).text
    assert "Run 1: 74 steps since the checkpoint" in force and "Run 2: " in force


def test_the_status_has_a_line_for_it_too(two: ExperimentState) -> None:
    (beside,) = status(two).beside
    assert (beside.index, beside.device, beside.ends is not None) == (2, "GPU 1", True)
    assert beside.step_seconds == pytest.approx(2 * (status(two).step_seconds or 0))
    (line,) = [line for line in status_lines(two) if line.startswith("  beside it: ")]
    assert line.startswith("  beside it: run 2/30 (fold 0 restart 1)  step 1750/7400  23 %  loss 0.493")
    assert "35.9 s/step  ends " in line and line.endswith("GPU 1")


def test_looking_at_another_run_is_no_news_to_be_called_for(two: ExperimentState) -> None:
    assert alert.news(view(two), view(msgspec.structs.replace(two, current=1))) == []


# ---------------------------------------------------------------- which one the panels show


async def test_a_key_takes_the_next_one_and_its_name_is_in_the_title(app_over: AppOver, two: ExperimentState) -> None:
    async with app_over(two).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        panel = app.screen.query_one(ProgressPanel)
        assert "run 1 · fold 0 restart 0" in title_of(panel) and "run 1/30 " in screen_text(app)
        assert "] next run" in screen_text(app)
        for key, place in (("]", 1), ("]", 0), ("[", 1), ("[", 0)):
            await pilot.press({"]": "right_square_bracket", "[": "left_square_bracket"}[key])
            await settle(pilot, lambda: app.view is not None and app.view.state.current == place)  # noqa: B023
            await pilot.pause()
            assert f"run {place + 1} · fold 0 restart {place}" in title_of(panel)
            assert f" run {place + 1}/30 " in screen_text(app) and f"▸ ● run {place + 1} " in screen_text(app)
        assert "35.9 s/step" in screen_text(app)


async def test_at_eighty_by_twenty_four_both_are_seen_and_no_panel_is_lost(
    app_over: AppOver, two: ExperimentState
) -> None:
    async with app_over(stopping(two)).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        said = screen_text(app)
        assert "run 1 · fold 0 restart 0" in title_of(app.screen.query_one(ProgressPanel))
        assert "● run 2  fold 0.1 " in said and "The loader is the limit" in said and "GPU 0" in said
        panels = [panel for panel in app.screen.query(Panel) if panel.region.area]
        assert {"progress", "finish", "where", "machine"} == {panel.id for panel in panels}
        assert all(panel.region.height >= 3 for panel in panels)
        assert max(panel.region.bottom for panel in panels) == 23


async def test_a_click_on_a_line_or_on_a_cell_of_the_matrix_does_the_same(
    app_over: AppOver, two: ExperimentState
) -> None:
    async with app_over(two).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.click(SideBySide, offset=(10, 1))
        await settle(pilot, lambda: app.view is not None and app.view.state.current == 1)
        cell = texts(runs_lines(view(two), 42, 9))[1].index("▶") + 2
        await pilot.click(RunsPanel, offset=(cell, 2))
        await settle(pilot, lambda: app.view is not None and app.view.state.current == 0)
        await pilot.click(RunsPanel, offset=(cell, 4))
        await pilot.pause(0.1)
        assert app.view is not None and app.view.state.current == 0, "what waits cannot be shown"


async def test_with_one_run_the_keys_do_nothing_and_are_not_offered(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("right_square_bracket", "left_square_bracket")
        assert app.check_action("next_run", ()) is False and "next run" not in screen_text(app)
        assert not app.screen.query_one(SideBySide).display
        assert "fold 0" not in title_of(app.screen.query_one(ProgressPanel))


def test_the_run_that_was_chosen_stays_until_it_ends(two: ExperimentState) -> None:
    source, posted = Held(two), list[Message]()
    monitor = Monitor(lambda: source, posted.append, interval=0.05)
    monitor.start()

    def seen() -> list[ExperimentState]:
        return [message.view.state for message in posted if isinstance(message, StateChanged)]

    wait_until(lambda: seen() and seen()[-1].current == 0)
    monitor.pick(two.runs[1].key.at)
    wait_until(lambda: seen()[-1].current == 1)

    def phase(run: RunState, phase: str) -> RunState:
        return msgspec.structs.replace(run, phase=phase)  # type: ignore[arg-type]

    begun = with_run(two, 2, msgspec.structs.replace(two.runs[0], key=two.runs[2].key))
    source.state = msgspec.structs.replace(begun, current=2)
    wait_until(lambda: seen()[-1].runs[2].phase == "running")
    assert seen()[-1].current == 1, "another one has begun, and this one is still looked at"
    source.state = with_run(source.state, 1, phase(two.runs[1], "finished"))
    wait_until(lambda: seen()[-1].current == 2)
    source.state = with_run(source.state, 1, phase(two.runs[1], "running"))
    wait_until(lambda: seen()[-1].runs[1].phase == "running")
    assert seen()[-1].current == 2, "it is not come back to unasked"
    monitor.stop()


# ---------------------------------------------------------------- what finished runs amount to


def test_the_runs_panel_says_how_one_more_would_change_the_mean(recorded: object) -> None:
    assert callable(recorded)
    lines = texts(runs_lines(view(recorded("quickstart", 4.0)), 60, 12))
    (so_far,) = [line for line in lines if line.startswith("so far")]
    (more,) = [line for line in lines if line.startswith("one more")]
    assert "4 runs" in so_far and more.startswith("one more    moves it by ±0.") and "(90 %), standard error 0." in more
    assert "4 runs = 4 usable models" in lines


def test_with_one_run_it_says_what_is_missing_instead(recorded: object) -> None:
    assert callable(recorded)
    lines = texts(runs_lines(view(recorded("compute", 1.4)), 60, 12))
    assert "a second run shows how much runs differ" in lines and "1 run = 1 usable model" in lines
    assert not any("±" in line for line in lines if line.startswith(("so far", "one more")))


@pytest.mark.parametrize("height", range(1, 16))
def test_what_matters_most_stays_in_a_low_panel(recorded: object, height: int) -> None:
    assert callable(recorded)
    seen = view(recorded("compute", 2.4))
    drawn = runs_lines(seen, 42, height)
    assert all(width_of(cut(line, 42)) <= 42 for line in drawn)
    lines = texts(drawn)
    assert not any("one more" in line for line in lines) or any(line.startswith("so far") for line in lines)
    assert not any("usable" in line for line in lines) or any("one more" in line for line in lines)
    if height >= 8:
        assert lines[-1].startswith("▶ 1 running") or "✔ 2 finished" in " ".join(lines)
