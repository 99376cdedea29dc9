"""The profile editor: what is edited is seen at once, and nothing happens to a training that was not meant."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from engine.config.tables import Lock
from engine.journals.events import ProfileChanged
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from engine.runs import control
from engine.runs.control import Request
from tests.tui.conftest import ended, view
from tests.tui.test_lines import KILLED
from tests.tui.test_screens import AppOver, asked, folder, screen_text, settle, shown, still  # noqa: F401
from tui.app import SteptopApp
from tui.desk import HELP
from tui.messages import StateChanged
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.editor import EditorScreen
from tui.screens.help import table
from tui.screens.saveas import SaveAs

REASON = "deep supervision needs frequent small-batch updates"
OWN = """title = "Mine"

[knobs]
num_workers = 1  # the disk is slow
prefetch_factor = 3  # measured
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a profile of its own, on a machine with cores to spare."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.toml").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def locking(state: ExperimentState, **locks: int) -> ExperimentState:
    """`state` with an experiment that locks knobs."""
    held = {name: Lock(value=value, reason=REASON) for name, value in locks.items()}
    experiment = msgspec.structs.replace(state.plan.experiment, locks=held)
    return msgspec.structs.replace(state, plan=msgspec.structs.replace(state.plan, experiment=experiment))


async def opened(pilot: Pilot[None]) -> SteptopApp:
    app = await shown(pilot)
    await pilot.press("p")
    await settle(pilot, lambda: isinstance(app.screen, EditorScreen) and app.screen._shelf)
    await pilot.pause()
    return app


def editor(app: SteptopApp) -> EditorScreen:
    assert isinstance(app.screen, EditorScreen)
    return app.screen


async def type_keys(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


# ---------------------------------------------------------------- editing


async def test_a_knob_that_is_changed_changes_what_is_expected(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        assert "Nothing is changed" in screen_text(app)
        await type_keys(pilot, "right")
        said = screen_text(app)
        assert "×2.00" in said and "sooner" in said and "← 1" in said
        await type_keys(pilot, "right")
        assert "×3.00" in screen_text(app)


async def test_typing_is_checked_letter_by_letter(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "9", "9")
        assert "num_workers = 99: it must lie in 0 to 64" in screen_text(app)
        await type_keys(pilot, "enter")
        assert editor(app)._draft.knobs["num_workers"] == 1, "what cannot be is not taken"
        await type_keys(pilot, "backspace", "backspace", "3", "enter")
        assert editor(app)._draft.knobs["num_workers"] == 3
        await type_keys(pilot, "5", "escape")
        assert editor(app)._draft.knobs["num_workers"] == 3
        assert isinstance(app.screen, EditorScreen), "escape left what was typed, not the editor"


async def test_letters_of_a_value_are_no_commands(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "enter", *"cores/1")
        assert editor(app)._entry == "cores/1" and isinstance(app.screen, EditorScreen)
        await type_keys(pilot, "enter")
        assert editor(app)._draft.now.scaled == {"num_workers": "cores/1"}


async def test_undo_redo_and_reset(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "down", "right", "right")
        assert "3 changed" not in screen_text(app) and len(editor(app).desk.changed) == 2  # type: ignore[union-attr]
        await type_keys(pilot, "u", "u", "u")
        assert "Nothing is changed" in screen_text(app)
        await type_keys(pilot, "U", "ctrl+y")
        assert editor(app)._draft.knobs["prefetch_factor"] == 3
        await type_keys(pilot, "r")
        assert "Nothing is changed" in screen_text(app)
        await type_keys(pilot, "ctrl+z")
        assert editor(app)._draft.knobs["num_workers"] == 2


async def test_another_profile_is_compared_with_and_then_loaded(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        while editor(app).desk.reference.name != "mine":  # type: ignore[union-attr]
            await type_keys(pilot, "d")
        assert "← 3" in screen_text(app) and "compared with mine" in screen_text(app)
        await type_keys(pilot, "o")
        assert editor(app)._draft.knobs["prefetch_factor"] == 3
        assert "profile  mine" in screen_text(app)
        await type_keys(pilot, "u")
        assert editor(app)._draft.knobs["prefetch_factor"] == 2


async def test_a_lock_is_shown_with_its_reason(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(locking(arc, num_workers=1)).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        said = screen_text(app)
        assert "locked" in said and f"locked at 1: {REASON}" in said
        await type_keys(pilot, "right")
        assert isinstance(app.screen, Confirm) and REASON in app.screen._question.text
        assert isinstance(app.focused, Button) and app.focused.id == "no"
        await type_keys(pilot, "enter")
        said = screen_text(app)
        assert editor(app)._draft.knobs["num_workers"] == 1 and "unlocked" not in said and "overridden" not in said
        await type_keys(pilot, "right", "y")
        said = screen_text(app)
        assert "unlocked" in said and "num_workers is locked: deep supervision" in said
        await type_keys(pilot, "right")
        assert editor(app)._draft.knobs["num_workers"] == 3, "asked once, not at every key"
        await type_keys(pilot, "left", "left", "right")
        assert isinstance(app.screen, Confirm), "back at its value it is locked again"


async def test_a_typed_value_of_a_locked_knob_asks_too(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(locking(arc, num_workers=1)).run_test(size=(80, 24)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "4", "enter")
        assert isinstance(app.screen, Confirm)
        await type_keys(pilot, "escape")
        assert editor(app)._draft.knobs["num_workers"] == 1 and editor(app)._entry is None


async def test_what_was_edited_is_there_again(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(80, 24)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "escape")
        assert isinstance(app.screen, Dashboard)
        await opened(pilot)
        assert editor(app)._draft.knobs["num_workers"] == 2
        await type_keys(pilot, "u")
        assert editor(app)._draft.knobs["num_workers"] == 1


async def test_keys_of_the_dashboard_do_nothing_here(app_over: AppOver, folder: ExperimentState) -> None:  # noqa: F811
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "s", "x", "X", "n", "e")
        assert isinstance(app.screen, EditorScreen)
    assert asked(folder) == []


# ---------------------------------------------------------------- applying


async def test_apply_leaves_the_request_and_shows_both_answers(app_over: AppOver, folder: ExperimentState) -> None:  # noqa: F811
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "right", "a")
        await settle(pilot, lambda: asked(folder))
        (request,) = asked(folder)
        assert (request.verb, request.by, request.override) == ("profile", "the dashboard", False)
        assert request.name == "num_workers=3" and request.knobs["num_workers"] == 3
        control.answer(ExperimentPaths(Path(folder.folder)), request, True, "acknowledged")
        await settle(pilot, lambda: "is accepted" in screen_text(app))
        still(app)
        app.post_message(StateChanged(view(taken(folder, request))))
        await settle(pilot, lambda: "the training goes on with num_workers=3 since step" in screen_text(app))


def taken(state: ExperimentState, request: Request) -> ExperimentState:
    """`state` once the trainer took up what was asked for."""
    record = ProfileChanged(
        id=request.id, name=request.name, knobs=request.knobs, changed=("num_workers",), step=1851, t=state.now
    )
    plan = msgspec.structs.replace(
        state.plan, profile=msgspec.structs.replace(state.plan.profile, name=request.name, knobs=request.knobs)
    )
    return msgspec.structs.replace(state, plan=plan, runs=(fold_run(state.runs[0], [record]), *state.runs[1:]))


async def test_a_refusal_is_shown_with_its_reason(app_over: AppOver, folder: ExperimentState) -> None:  # noqa: F811
    async with app_over(folder).run_test(size=(80, 24)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "a")
        await settle(pilot, lambda: asked(folder))
        control.answer(ExperimentPaths(Path(folder.folder)), asked(folder)[0], False, "[red]no[/red] such thing")
        await settle(pilot, lambda: "refused: [red]no[/red] such thing" in screen_text(app))
        await type_keys(pilot, "right")
        assert "refused" not in screen_text(app), "it was about other values"


async def test_a_locked_knob_needs_a_deliberate_yes(app_over: AppOver, folder: ExperimentState) -> None:  # noqa: F811
    state = locking(folder, num_workers=1)
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "y", "a")
        assert isinstance(app.screen, Confirm)
        assert isinstance(app.focused, Button) and app.focused.id == "no"
        assert REASON in app.screen._question.text
        await type_keys(pilot, "enter")
        assert asked(folder) == []
        await type_keys(pilot, "a", "y")
        await settle(pilot, lambda: asked(folder))
    assert asked(folder)[0].override


async def test_what_cannot_change_while_it_trains_is_said_with_what_to_do(
    app_over: AppOver, folder: ExperimentState  # noqa: F811
) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        while editor(app)._cursor != "batch_size":
            await type_keys(pilot, "down")
        await type_keys(pilot, "right", "a")
        said = screen_text(app)
        assert "not applied: batch_size = 2 cannot change while it trains" in said and "Save the profile (w)" in said
    assert asked(folder) == []


@pytest.mark.parametrize("why", ["readonly", "ended"])
async def test_where_nobody_could_take_it_up_that_is_said(app_over: AppOver, arc: ExperimentState, why: str) -> None:
    state = ended(arc, "failed", KILLED, "run 1 of 30 failed") if why == "ended" else arc
    async with app_over(state, readonly=why == "readonly").run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "a")
        words = {"readonly": "--readonly", "ended": "nothing is training: resume it (r)"}[why]
        assert f"not applied: {'this screen' if why == 'readonly' else words}" in screen_text(app)
        assert words in screen_text(app)


# ---------------------------------------------------------------- saving


def said(app: SteptopApp) -> str:
    return str(app.screen.query_one("#said", Static).visual)


async def test_a_new_file_keeps_the_comments_of_what_it_is_made_from(
    app_over: AppOver, arc: ExperimentState, place: Path
) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        while editor(app).desk.reference.name != "mine":  # type: ignore[union-attr]
            await type_keys(pilot, "d")
        await type_keys(pilot, "o", "right", "w")
        assert isinstance(app.screen, SaveAs)
        await type_keys(pilot, *"night")
        assert "as the new file profiles/night.toml" in said(app)
        app.screen.query_one("#why", Input).value = "nobody else is there at night"
        await type_keys(pilot, "ctrl+s")
        await settle(pilot, lambda: isinstance(app.screen, EditorScreen))
    text = (place / "profiles" / "night.toml").read_text()
    assert tomllib.loads(text)["knobs"] == {"num_workers": 2, "prefetch_factor": 3}
    assert "# measured" in text and "# the disk is slow" in text and "nobody else is there at night" in text
    assert (place / "profiles" / "mine.toml").read_text() == OWN


async def test_an_existing_file_is_changed_only_when_confirmed(
    app_over: AppOver, arc: ExperimentState, place: Path
) -> None:
    async with app_over(arc).run_test(size=(80, 24)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "right", "w", *"mine")
        assert "is there already" in said(app)
        await type_keys(pilot, "enter", "enter")
        assert isinstance(app.screen, SaveAs) and (place / "profiles" / "mine.toml").read_text() == OWN
        await type_keys(pilot, "ctrl+s")
        assert isinstance(app.screen, Confirm)
        await type_keys(pilot, "y")
        await settle(pilot, lambda: isinstance(app.screen, EditorScreen))
    text = (place / "profiles" / "mine.toml").read_text()
    assert tomllib.loads(text)["knobs"]["num_workers"] == 3 and "# measured" in text


@pytest.mark.parametrize("name", ["../evil", "[red]x[/red]", "a b"])
async def test_what_cannot_be_a_name_is_said(app_over: AppOver, arc: ExperimentState, place: Path, name: str) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "w")
        app.screen.query_one("#name", Input).value = name
        await type_keys(pilot, "ctrl+s")
        assert "cannot be a profile's name" in said(app) and name in said(app)
    assert [path.name for path in (place / "profiles").iterdir()] == ["mine.toml"]


# ---------------------------------------------------------------- memory


async def test_more_memory_than_there_is_is_refused_with_its_arithmetic(
    app_over: AppOver, folder: ExperimentState  # noqa: F811
) -> None:
    small = msgspec.structs.replace(folder.samples[-1], ram_available=14 << 30)
    state = msgspec.structs.replace(folder, samples=(*folder.samples[:-1], small))
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "right", "right", "right", "a")
        said = screen_text(app)
        assert "refused: RAM is not enough: trainer 4.4 GiB + 4 workers × 9.7 GiB" in said
        await type_keys(pilot, "u", "u")
        assert "RAM is not enough" not in screen_text(app)
    assert asked(folder) == []


FOLLOWING = """title = "Mine"

[knobs]
num_workers = "cores/3"      # a third of the machine
prefetch_factor = 2          # measured
"""


async def test_a_file_keeps_what_was_not_edited_as_it_was_written(
    app_over: AppOver, arc: ExperimentState, place: Path
) -> None:
    """Launched with a share of the cores; only prefetching is edited, and saved over the file."""
    file = place / "profiles" / "mine.toml"
    file.write_text(FOLLOWING)
    profile = msgspec.structs.replace(arc.plan.profile, name="mine", scaled={"num_workers": "cores/3"})
    state = msgspec.structs.replace(arc, plan=msgspec.structs.replace(arc.plan, profile=profile))
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await opened(pilot)
        await type_keys(pilot, "down", "right", "w", *"mine")
        app.screen.query_one("#title-text", Input).value = "Mine"
        await type_keys(pilot, "ctrl+s", "y")
        await settle(pilot, lambda: isinstance(app.screen, EditorScreen))
    lines = file.read_text().splitlines()
    kept = 'num_workers = "cores/3"      # a third of the machine'
    assert kept in lines and "prefetch_factor = 3          # measured" in lines
    assert not any("instead of cores" in line for line in lines)


def test_titles_of_the_help_have_their_own_column() -> None:
    lines = table([(*key, True) for key in HELP], 100).plain.split("\n")
    at = [line.index(title) for _, title, text in HELP for line in lines if title in line and line.endswith(text[-8:])]
    beside = [line.index(text[:8]) for _, title, text in HELP for line in lines if title in line and text[:8] in line]
    assert len(set(at)) == 1 and len(set(beside)) == 1 and len(beside) == len(HELP)
    assert beside[0] > at[0] + max(len(title) for _, title, _ in HELP)
