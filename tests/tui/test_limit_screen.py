"""A limit on the screen: when it ends at the latest, what fits, another one with `u`, and calling the user."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from textual.widgets import Input, Static

from engine.journals.events import LimitReached, LimitSet
from engine.journals.limit_events import Limits, Rate, Session
from engine.live.fold_experiment import fold_supervisor
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from engine.runs import control
from tests.conftest import Laboratory, fake_plan, wait_until
from tests.engine.test_notify import changed_pace
from tests.tui.conftest import ended, stopping, view
from tests.tui.terminal_session import TerminalSession, steptop
from tests.tui.test_lines import KILLED
from tests.tui.test_screens import AppOver, asked, folder as folder, settle, shown, still
from tui import alert
from tui.launching import request_from
from tui.messages import StateChanged
from tui.screens.limit import LimitScreen
from tui.terminal import LeanDriver
from tui.verbs.showing import status_lines
from tui.widgets.banner import Banner, banner_lines
from tui.widgets.header import header_line
from tui.widgets.line import text_of

DAY = 86_400.0


def limited(state: ExperimentState, days: float = 6.0, **more: object) -> ExperimentState:
    """`state` with a time limit of so many days from its moment on."""
    record = LimitSet(limits=Limits(asked=state.now, seconds=days * DAY), t=state.now, m=state.now_monotonic, **more)  # type: ignore[arg-type]
    return fold_supervisor(state, [record])


# ---------------------------------------------------------------- what is said


def test_a_limit_that_leaves_no_time_for_all_runs_is_in_the_banner(arc: ExperimentState) -> None:
    (line,), gravity = banner_lines(view(limited(arc)), "", 118)
    assert gravity == "warn"
    said = text_of(line)
    assert "at the latest (time limit, 6 d): " in said and " of 30 runs fit" in said and "too late" in said
    (brief,), _ = banner_lines(view(limited(arc)), "", 79)
    assert "(time limit, 6 d): " in text_of(brief) and "too late" not in text_of(brief)
    (wide,), _ = banner_lines(view(limited(arc)), "", 160)
    assert text_of(wide).endswith("u change it")
    (readonly,), _ = banner_lines(view(limited(arc)), "", 160, readonly=True)
    assert "change it" not in text_of(readonly)


def test_a_limit_that_all_runs_fit_in_is_in_the_header_alone(arc: ExperimentState) -> None:
    seen = view(limited(arc, 300))
    assert banner_lines(seen, "", 118) == ([], "")
    assert " · ends by " in text_of(header_line(seen, 118))
    assert " · ends by " not in text_of(header_line(view(arc), 118))


def test_a_stop_that_was_asked_for_is_said_before_a_limit(arc: ExperimentState) -> None:
    (line,), _ = banner_lines(view(stopping(limited(arc))), "", 118)
    assert "stops after run 1" in text_of(line)


def test_a_stop_for_a_limit_names_it(arc: ExperimentState) -> None:
    reached = LimitReached(kind="time", text="time limit (6 d)", left=30.0, needed=31.0, t=arc.now)
    near = stopping(fold_supervisor(limited(arc), [reached]), "now")
    (line,), _ = banner_lines(view(near), "", 118)
    assert text_of(line).startswith(" ■ its time limit (6 d) is near: it finishes its step, writes a checkpoint and ends")


def test_what_was_spent_stays_when_it_has_ended(arc: ExperimentState) -> None:
    rate = Rate(hourly=2.0, currency="USD", basis="as given")
    record = LimitSet(limits=Limits(budget=100.0, rate=rate), spent=10.0, t=arc.now, m=arc.now_monotonic)
    over = ended(fold_supervisor(arc, [record]), "stopped", KILLED, "stopped")
    seen = view(over)
    assert seen.allowance is not None and seen.allowance.fit is None
    assert seen.allowance.spent == pytest.approx(10.0)
    assert "ends by" not in text_of(header_line(seen, 118))


def test_a_session_of_quoted_length_ends_about_then(arc: ExperimentState) -> None:
    session = Session(kind="kaggle", name="Kaggle", at=arc.now + 7 * 3600, seconds=12 * 3600.0, quoted="somebody, 2025-11")
    state = fold_supervisor(arc, [LimitSet(limits=Limits(), session=session, t=arc.now, m=arc.now_monotonic)])
    at = time.strftime("%H:%M", time.localtime(session.at))
    said = [line for line in status_lines(state) if "session" in line or "somebody" in line]
    assert said[0].startswith("  this session ends about ") and f"{at} (Kaggle, 12 h, quoted): 0 of 30 runs fit" in said[0]
    assert said[1] == "  somebody, 2025-11"
    (line,), _ = banner_lines(view(state), "", 160)
    assert "(Kaggle session's end, 12 h, quoted)" in text_of(line)


# ---------------------------------------------------------------- another limit


async def test_u_asks_for_another_limit_and_says_what_it_would_come_to(
    app_over: AppOver, folder: ExperimentState
) -> None:
    state = limited(folder)
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("u")
        await settle(pilot, lambda: isinstance(app.screen, LimitScreen))
        await pilot.pause()
        now = str(app.screen.query(Static)[1].visual)
        assert "(time limit, 6 d)" in now and "of 30 runs fit" in now
        field = app.screen.query_one(Input)
        for typed, said in (
            ("soon", "a time such as 12h"),
            ("2020-01-01T00:00", "has passed"),
            ("25USD at 1EUR", "converts no currencies"),
            ("90d", "at the latest: all 30 runs fit"),
        ):
            field.value = typed
            await settle(pilot, lambda said=said: said in str(app.screen.query_one("#said", Static).visual))
        field.value = "soon"
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, LimitScreen)
        field.value = "90d"
        await pilot.press("enter")
        await settle(pilot, lambda: asked(state))
        (request,) = asked(state)
        assert request.verb == "limit" and request.limits is not None
        assert request.limits.seconds == 90 * DAY and abs(request.limits.asked - time.time()) < 60
        control.answer(ExperimentPaths(Path(state.folder)), request, True, "ends by Sun")
        await settle(pilot, lambda: [notice.message for notice in app._notifications] == ["ends by Sun"])


async def test_none_takes_the_limit_away_and_escape_changes_nothing(
    app_over: AppOver, folder: ExperimentState
) -> None:
    async with app_over(limited(folder)).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("u")
        await settle(pilot, lambda: isinstance(app.screen, LimitScreen))
        await pilot.press("escape")
        await settle(pilot, lambda: not isinstance(app.screen, LimitScreen))
        assert asked(folder) == []
        await pilot.press("u")
        await settle(pilot, lambda: isinstance(app.screen, LimitScreen))
        app.screen.query_one(Input).value = "none"
        await pilot.press("enter")
        await settle(pilot, lambda: asked(folder))
        (request,) = asked(folder)
        assert request.limits is not None and not request.limits.any


async def test_r_asks_for_another_limit_where_one_has_stopped_it(
    app_over: AppOver, folder: ExperimentState
) -> None:
    reached = LimitReached(kind="time", text="time limit (6 d)", t=folder.now)
    over = ended(fold_supervisor(limited(folder), [reached]), "stopped", KILLED, f"stopped at its {'long ' * 40}")
    async with app_over(over).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert len(app.screen.query_one(Banner)._drawn) == 3
        await pilot.press("r")
        await settle(pilot, lambda: isinstance(app.screen, LimitScreen))
        await pilot.pause()
        said = [str(one.visual) for one in app.screen.query(Static)]
        assert said[0] == "Go on with arc-meshnet26, up to a limit"
        assert said[1].startswith("It stopped for its time limit (6 d): give it another, or none.")


async def test_readonly_offers_no_limit(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(limited(arc), readonly=True).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("u")
        await pilot.pause()
        assert not isinstance(app.screen, LimitScreen)


def test_the_launch_dialog_takes_a_limit_and_what_the_settings_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "steptop").mkdir()
    (tmp_path / "steptop" / "settings.toml").write_text('notify = ["https://host/x"]\non_finish = ["echo", "a b"]\n')
    request = request_from({"experiment": "quickstart", "limit": "12h, 25USD at 2USD", "task": "train it"}, tmp_path)
    assert (request.limits.until, request.limits.budget, request.limits.price) == ("12h", "25USD", "2USD")
    assert request.notify == ("https://host/x",)
    assert request.on_finish is not None and request.on_finish.argv == ("echo", "a b")
    test = request_from({"experiment": "quickstart", "task": "measure one profile, in parts"}, tmp_path)
    assert (test.notify, test.on_finish) == ((), None)


# ---------------------------------------------------------------- calling the user


def test_news_are_ends_stalls_slower_steps_and_limits_at_risk(arc: ExperimentState) -> None:
    change = msgspec.structs.replace
    before = view(arc)
    assert alert.news(None, before) == alert.news(before, before) == []
    assert alert.news(before, view(ended(arc, "failed", KILLED, "x"))) == ["failed"]
    assert alert.news(before, view(change(arc, stalled_seconds=90.0))) == ["stalled"]
    assert alert.news(view(limited(arc, 300)), view(limited(arc, 6))) == ["at_risk"]
    assert alert.news(before, view(changed_pace(arc, 1.2))) == ["drift"]
    assert alert.news(before, view(changed_pace(arc, 0.8))) == []
    assert alert.news(view(limited(arc, 6)), view(limited(arc, 6))) == []
    other = change(ended(arc, "finished", KILLED, "x"), folder="/elsewhere")
    assert alert.news(before, view(other)) == []


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "9;"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "9;"),
        ({"TERM": "xterm-kitty"}, "9;"),
        ({"TERM": "foot"}, "777;notify;"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "777;notify;"),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "iTerm.app"}, ""),
        ({"TERM": "foot", "TMUX": "/tmp/x"}, ""),
        ({}, ""),
    ],
)
def test_a_desktop_notification_goes_where_it_is_understood_and_the_bell_everywhere(
    environ: dict[str, str], code: str
) -> None:
    sent = alert.sequence("failed", environ, "desktop")
    assert sent.startswith("\a")
    assert sent[1:].startswith(f"\x1b]{code}") if code else sent == "\a"
    assert "training failed" in sent or not code
    assert alert.sequence("failed", environ, "bell") == "\a"
    assert alert.sequence("failed", environ, "off") == ""
    assert alert.sequence("\x1b]0;evil\x07", environ, "desktop") == ""


async def test_a_failure_rings_once(app_over: AppOver, arc: ExperimentState) -> None:
    """What would be sent is caught where it leaves for the terminal: in tests there is none."""
    rung: list[str] = []

    class Ringing(LeanDriver):
        def ring(self, data: str) -> None:
            rung.append(data)

    async with app_over(arc).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        still(app)
        driver, app._driver = app._driver, Ringing.__new__(Ringing)
        try:
            for state in (arc, ended(arc, "failed", KILLED, "run 1 failed"), ended(arc, "failed", KILLED, "run 1 failed")):
                app.on_state_changed(StateChanged(view(state)))
        finally:
            app._driver = driver
    assert rung == ["\a"]


def test_a_real_terminal_is_rung_and_notified_with_fixed_words(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan(folds=2, restarts=1))
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "TERM_PROGRAM": "iTerm.app"}
    with TerminalSession(steptop("--logs", str(lab.logs)), env=environ) as session:
        session.wait_for("Progress", "run 1/2", "quit")
        assert b"\x07" not in session.raw and b"\x1b]" not in session.raw
        control.request(paths, "stop_now")
        session.wait_for("stopped as asked")
        wait_until(lambda: b"\x07" in session.raw, what="the bell")
        session.send("q")
        session.wait()
        assert session.raw.count(b"\x07") == 1
        assert session.raw.count(b"\x1b]9;steptop: training stopped\x1b\\") == 1
