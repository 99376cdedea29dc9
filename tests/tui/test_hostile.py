"""Whatever was written into names, journals and logs, the screen shows it and obeys none of it."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.journals.events import CheckpointWritten, Gpu, Metrics, Note, PrecisionActive, Progress, Verdict
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState
from tests.tui.conftest import ended
from tests.tui.terminal_session import TerminalSession, steptop
from tests.tui.test_screens import asked, shown
from tui.app import SteptopApp
from tui.plain import plain

ROOT = Path(__file__).parent.parent.parent
PAYLOADS = (
    "[red]X[/red]",
    "[@click=app.quit]CLICKME[/]",
    "[@click=app.simulate_key('X')]CLICK[/]",
    "[link=https://evil]L[/link]",
    "loss[/]=1 [/foo] [tag=value:",
    "\x1b]0;PWNED-TITLE\x07t",
    "\x1b]52;c;Y3VybCBldmlsfHNo\x07c",
    "\x1b[2J\x1b[Hgone",
    "\x1bP1$r\x1b\\d",
    "\x9b31mred",
    "\x1b_apc\x1b\\",
    "a\u202eb\u200bc",
    "x\ry\x7fz\x08",
    "\x1b]8;;https://evil\x07link\x1b]8;;\x07",
    "日本語🧠é́",
    "A" * 5000,
)
EVIL = " ".join(PAYLOADS[:-1])


def spoiled(state: ExperimentState, text: str) -> ExperimentState:
    """`state` with `text` wherever a file could have put it."""
    new = msgspec.structs.replace
    run = state.runs[0]
    assert run.begin is not None
    run = new(
        fold_run(
            run,
            [
                Note(text=text, level="bad", t=state.now),
                CheckpointWritten(file=text, step=1780, bytes=5, t=state.now),
                PrecisionActive(requested=text, active=text, t=state.now),
                Metrics(split=text, values={text: 0.5, "dice": 0.4}, step=1700, t=state.now),
                Metrics(split=text, values={text: 0.6, "dice": 0.5}, step=1800, t=state.now),
                Metrics(split="test", values={text: 0.6}, step=1800, t=state.now),
                Progress(name=text, done=1, total=3, text=text, t=state.now),
            ],
        ),
        begin=new(run.begin, device_name=text, device=text),
        losses={text: 1.0},
    )
    sample = new(
        state.samples[-1], gpu_reason=text, gpus=(Gpu(index=0, name=text, error=text), *state.samples[-1].gpus)
    )
    plan = new(state.plan, name=text, experiment_name=text, profile=new(state.plan.profile, name=text))
    return new(state, plan=plan, runs=(run, *state.runs[1:]), samples=(*state.samples[:-1], sample))


def strips(app: SteptopApp) -> str:
    return "".join(strip.text for strip in app.screen._compositor.render_strips())


def check(app: SteptopApp) -> None:
    """Nothing on the screen that a terminal would obey; nothing that Textual would."""
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            assert segment.control is None
            bad = {c for c in segment.text if unicodedata.category(c) in ("Cc", "Cf", "Cs")}
            assert not bad, bad
            assert segment.style is None or segment.style.link is None
            assert segment.style is None or "@click" not in segment.style.meta


@pytest.mark.parametrize("payload", [EVIL, PAYLOADS[4], PAYLOADS[-1]], ids=["all", "broken", "long"])
async def test_no_name_title_metric_or_sentence_acts(
    app_over: Callable[..., SteptopApp], arc: ExperimentState, payload: str, tmp_path: Path
) -> None:
    folder = tmp_path / "logs" / "x"
    (folder / "fold_0_restart_0").mkdir(parents=True)
    (folder / "plan.json").write_bytes(msgspec.json.encode(arc.plan))
    (folder / "fold_0_restart_0" / "console.log").write_text(f"{payload}\n" * 5, errors="replace")
    state = msgspec.structs.replace(spoiled(arc, payload), folder=str(folder))
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        check(app)
        for y in (0, 3, 9, 12, 15, 20, 24, 35):
            await pilot.click(offset=(30 if y % 2 else 90, y))
        if app.screen.maximized is not None or len(app.screen_stack) > 2:
            await pilot.press("escape")
        for keys in (
            ("6", "m", "enter"),
            ("escape", "question_mark"),
            ("escape", "x"),
            ("escape", "X"),
            ("escape", "l"),
            ("escape", "ctrl+p"),
        ):
            await pilot.press(*keys)
            await pilot.pause(0.02)
            check(app)
        assert app.is_running
    assert [request.verb for request in asked(state)] in ([], ["stop_after_run"])


async def test_a_verdict_is_words_only(app_over: Callable[..., SteptopApp], arc: ExperimentState) -> None:
    verdict = Verdict(kind="crash", text=EVIL, evidence=(EVIL, EVIL), advice=EVIL)
    state = spoiled(ended(arc, "failed", verdict, EVIL), EVIL)
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        check(app)
        for y in range(1, 6):
            await pilot.click(offset=(10, y))
        check(app)
        app.say(EVIL, "error")
        app.problem = EVIL
        await pilot.pause()
        check(app)
        assert app.is_running


ALLOWED = re.compile(
    rb"\x1b\[[0-9;]*[HmC]|\x1b\[\?[0-9;]+(?:\$p|[hl])|\x1b\[[<>][0-9;]*u|[^\x00-\x1f\x7f\x1b]+|\r?\n|\r"
)


def test_on_a_real_terminal_nothing_but_moves_colours_and_text_is_written(
    recorded: Callable[..., ExperimentState], tmp_path: Path
) -> None:
    from engine.journals.journal import Writer
    from tests.recordings import write_recording

    folder = tmp_path / "logs" / "hostile"
    write_recording(folder, "quickstart", 1.5, name=EVIL)
    with Writer(folder / "fold_0_restart_1" / "steps-001.jsonl") as journal:
        journal.write(*(Note(text=payload, level="bad") for payload in PAYLOADS))
    (folder / "fold_0_restart_1" / "console.log").write_bytes(
        "\n".join(PAYLOADS).encode(errors="replace") + b"\n\xff\xfe\x00binary\x1b]0;x\x07\n"
    )
    with TerminalSession(steptop("--logs", str(tmp_path / "logs")), env={"XDG_CONFIG_HOME": str(tmp_path)}) as session:
        session.wait_for("Progress", "Events", "link")
        session.send("l")
        session.wait_for("log", "following")
        session.send("\x1b")
        session.wait_for("Progress")
        session.send("e")
        session.wait_for("experiments")
        session.send("q")
        assert session.wait() == 0
        raw = session.raw
    assert b"PWNED-TITLE" not in raw and b"Y3VybCBldmls" not in raw
    position = 0
    while position < len(raw):
        found = ALLOWED.match(raw, position)
        assert found, raw[position - 40 : position + 40]
        position = found.end()


# ---------------------------------------------------------------- the rule in the code


MARKUP_BY_DEFAULT = {
    "Static",
    "Label",
    "Button",
    "Checkbox",
    "Collapsible",
    "Tab",
    "TabPane",
    "Option",
    "OptionList",
    "Select",
    "RichLog",
}


def _is_plain(node: ast.expr) -> bool:
    """A literal without markup, or content that was built as content."""
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or "[" not in node.value
    return isinstance(node, ast.Call) or (isinstance(node, ast.Name) and node.id == "content")


def test_no_text_of_unknown_origin_meets_markup() -> None:
    found = []
    for path in sorted((ROOT / "tui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            markup = next((k.value for k in node.keywords if k.arg == "markup"), None)
            off = isinstance(markup, ast.Constant) and markup.value is False
            on = isinstance(markup, ast.Constant) and markup.value is True
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            if on or name in ("from_markup", "MarkupError"):
                found.append(f"{where} turns markup on")
            if name in ("notify", "Static", "Label") and not off:
                found.append(f"{where} {name} without markup=False")
            # A Select's options are content: checked by clicking through the dialog.
            others = MARKUP_BY_DEFAULT - {"Static", "Label", "Select"}
            if name in others and not off and not all(_is_plain(argument) for argument in node.args[:1]):
                found.append(f"{where} {name} of a text")
    assert not found, "\n".join(found)


def test_plain_content_holds_no_style_and_no_link() -> None:
    for payload in PAYLOADS:
        content = plain(payload)
        assert not content.spans
        assert "\x1b" not in content.plain
