"""Webhooks and commands for after the end: told without waiting, without a shell, without an address ever printed."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from engine import process
from engine.errors import UsageError
from engine.journals import journal
from engine.journals.events import Note, NotifyFailed, OnFinishRan
from engine.journals.journal import Writer
from engine.journals.limit_events import Limits, OnFinish
from engine.limit import notify, on_finish, webhook
from engine.limit.guard import Guard, stop_seconds
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.runs import control
from engine.runs.launch import lay_out, supervise
from tests.conftest import Laboratory, fake_plan, wait_until
from tests.recordings import state_of, write_recording

SECRET = "T0K3N/very-secret"
ENDED = ("finished", "stopped", "failed", "lost")


class Hook:
    """A webhook on the loopback that answers with the codes it is given, 200 afterwards."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []  # type: ignore[type-arg]
        self.codes: list[int] = []
        self.hang = 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(hook.hang)
                hook.bodies.append(json.loads(body) | {"path": self.path, "type": self.headers["Content-Type"]})
                self.send_response(hook.codes.pop(0) if hook.codes else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def events(self) -> list[str]:
        return [body["event"] for body in self.bodies]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FAKE_EPOCHS": "1", "FAKE_STEPS": "10", "FAKE_STEP_SECONDS": "0.02"}.items():
        monkeypatch.setenv(name, value)


def look(paths: ExperimentPaths) -> ExperimentState:
    return Watch(paths.folder).poll()


def launched(lab: Laboratory, urls: tuple[str, ...] = (), command: OnFinish | None = None) -> ExperimentPaths:
    plan = fake_plan(folds=1, restarts=1, on_finish=command)
    folder = lab.logs / plan.name
    lab.folders.append(folder)
    lay_out(folder, plan)
    notify.write_targets(folder, urls)
    supervise(folder)
    return ExperimentPaths(folder)


def over(paths: ExperimentPaths) -> None:
    wait_until(lambda: look(paths).phase in ENDED and not look(paths).supervisor_alive, what="the end")


def after(paths: ExperimentPaths, kind: type) -> list:  # type: ignore[type-arg]
    return [record for record in journal.read(paths.finish) if isinstance(record, kind)]


TOLD = notify.message("finished", "fake", "finished", "all 4 runs finished \x1b[31mred")


# ---------------------------------------------------------------- one address


def test_a_message_is_json_with_the_sentence_where_chats_look_for_it(hook: Hook) -> None:
    assert webhook.post(hook.url, TOLD) is None
    (body,) = hook.bodies
    assert body["path"] == f"/{SECRET}"
    assert body["type"] == "application/json"
    assert body["text"] == body["content"] == "steptop fake: all 4 runs finished red"
    assert (body["event"], body["experiment"], body["state"], body["version"]) == ("finished", "fake", "finished", 1)


def test_an_address_that_stumbles_is_tried_again_and_one_that_refuses_is_not(hook: Hook) -> None:
    hook.codes = [503, 500]
    assert webhook.post(hook.url, TOLD, waits=(0.01, 0.01)) is None
    assert len(hook.bodies) == 3
    hook.codes = [404]
    failed = webhook.post(hook.url, TOLD, waits=(0.01, 0.01))
    assert failed is not None
    assert (failed.error, failed.tries) == ("it answered 404", 1)
    assert len(hook.bodies) == 4


def test_a_redirection_is_not_followed(hook: Hook) -> None:
    hook.codes = [307]
    failed = webhook.post(hook.url, TOLD, waits=())
    assert failed is not None and failed.error == "it answered 307"
    assert [body["path"] for body in hook.bodies] == [f"/{SECRET}"]


def test_a_failure_names_scheme_and_host_only(hook: Hook) -> None:
    url = hook.url
    hook.server.socket.close()
    failed = webhook.post(url, TOLD, waits=(0.01,))
    assert failed is not None
    assert failed.target == url.removesuffix(f"/{SECRET}")
    assert (failed.error, failed.tries) == ("Connection refused", 2)
    assert SECRET not in str(failed)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "'ftp' cannot be posted to"),
        ("file:///etc/passwd", "'file' cannot be posted to"),
        ("host/path", "begins with https://"),
        ("https://", "names no host"),
        ("https://user:secret@host/x", "user and password before the host"),
        ("https://host:99999/x", "not a URL"),
        ("https://host/a b", "%XX"),
        ("https://host/\x1b]0;x", "%XX"),
        ("https://[::1/x", "not a URL"),
        (f"https://host/{'x' * 3000}", "too long"),
    ],
)
def test_what_cannot_be_posted_to_is_refused_without_being_repeated(url: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        webhook.checked(url)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


# ---------------------------------------------------------------- an experiment that tells


def test_the_end_is_told_and_the_address_is_written_nowhere_else(lab: Laboratory, hook: Hook) -> None:
    paths = launched(lab, (hook.url,))
    over(paths)
    wait_until(lambda: hook.events() == ["finished"], what="the message")
    assert hook.bodies[0]["text"] == "steptop fake: its one run finished; nothing of it is left running"
    assert paths.notify.stat().st_mode & 0o777 == 0o600
    for file in paths.folder.rglob("*"):
        if file.is_file() and file != paths.notify:
            assert SECRET.encode() not in file.read_bytes(), file


def test_an_address_that_cannot_be_reached_is_written_down_once(lab: Laboratory, hook: Hook) -> None:
    hook.codes = [400]
    paths = launched(lab, (hook.url,))
    over(paths)
    wait_until(lambda: after(paths, NotifyFailed), what="the failure")
    (failed,) = after(paths, NotifyFailed)
    assert (failed.event, failed.error) == ("finished", "it answered 400")
    said = [sentence.text for sentence in look(paths).sentences]
    target = hook.url.removesuffix(f"/{SECRET}")
    assert f"{target} could not be told (finished): it answered 400, 1 try" in said


def test_a_slow_address_holds_nobody_up(lab: Laboratory, hook: Hook, tmp_path: Path) -> None:
    """While a message is on its way the notifier's owner goes on; the next one does not wait for it."""
    hook.hang = 0.8
    folder = tmp_path / "logs" / "x"
    folder.mkdir(parents=True)
    notify.write_targets(folder, (hook.url,))
    notifier = notify.Notifier(folder)
    notifier.send(TOLD)
    notifier.send(msgspec.structs.replace(TOLD, event="stalled"))
    assert notifier.failures() == []
    assert len(notifier.pids()) == 2
    wait_until(lambda: len(hook.bodies) == 2, what="both messages")
    wait_until(lambda: not notifier.failures() and not notifier.pids(), what="both processes' ends")


def test_failures_of_one_address_are_reported_once(hook: Hook, tmp_path: Path) -> None:
    hook.codes = [410, 410]
    notify.write_targets(tmp_path, (hook.url,))
    notifier = notify.Notifier(tmp_path)
    found: list[NotifyFailed] = []

    def collected() -> bool:
        found.extend(notifier.failures())
        return not notifier.pids()

    for _ in range(2):
        notifier.send(TOLD)
        wait_until(collected, what="the process's end")
    assert [(one.error, one.event) for one in found] == [("it answered 410", "finished")]


# ---------------------------------------------------------------- what is told while it trains


def changed_pace(state: ExperimentState, ratio: float, cause: str = "") -> ExperimentState:
    """`state` once its steps take `ratio` times as long as before."""
    assert state.run is not None and state.current is not None
    pace, last = state.run.pace, state.run.pace.segments[-1]
    fresh = msgspec.structs.replace(last, first=last.first + 100, noticed=state.now, since=state.now, ratio=ratio)
    run = msgspec.structs.replace(
        state.run,
        pace=msgspec.structs.replace(pace, segments=(*pace.segments, fresh)),
        causes={**state.run.causes, fresh.first: cause} if cause else state.run.causes,
    )
    return msgspec.structs.replace(state, runs=(*state.runs[: state.current], run, *state.runs[state.current + 1 :]))


def test_stalls_slower_steps_and_limits_at_risk_are_told_once_each(hook: Hook, tmp_path: Path) -> None:
    folder = tmp_path / "arc"
    write_recording(folder, "arc", 0.25)
    state = msgspec.structs.replace(state_of(folder), supervisor_alive=True, trainer_alive=True)
    notify.write_targets(folder, (hook.url,))
    states = [state]
    paths = ExperimentPaths(folder)
    with Writer(tmp_path / "events.jsonl") as book:
        plan = msgspec.structs.replace(state.plan, limits=Limits(asked=time.time(), seconds=1e6))
        guard = Guard(paths, plan, book, session=lambda _: None, look=lambda: states[-1])
        guard.begin()
        assert guard.record is not None
        state = msgspec.structs.replace(
            state, plan=plan, limit=msgspec.structs.replace(guard.record, m=state.now_monotonic, t=state.now)
        )

        def seen(changed: ExperimentState) -> None:
            states.append(changed)
            guard._due_look = 0.0
            guard.look()

        seen(state)
        seen(state)
        stalled = msgspec.structs.replace(state, stalled_seconds=185.0)
        seen(stalled)
        seen(stalled)
        quicker = changed_pace(state, 0.8)
        drifting = changed_pace(quicker, 1.13, "GPU clock down")
        seen(quicker)
        seen(drifting)
        seen(drifting)
        wait_until(lambda: len(hook.bodies) == 3, what="three messages")
        assert sorted(hook.events()) == ["at_risk", "drift", "stalled"]
        texts = {body["event"]: body["text"] for body in hook.bodies}
        assert texts["stalled"] == "steptop arc: nothing new for 3 min 5 s: it may hang"
        assert re.fullmatch(r"steptop arc: step time 13 % slower since \d\d:\d\d; GPU clock down", texts["drift"])
        assert re.match(r"steptop arc: its time limit \(11 d 13 h 46 min\) is at risk: 7 of 30 runs fit", texts["at_risk"])
        wait_until(lambda: not guard.notifier.failures() and not guard.notifier.pids(), what="their ends")


def test_a_forecast_that_fails_ends_nothing_and_is_said_once(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_recording(folder, "arc", 0.25)
    plan = msgspec.structs.replace(state_of(folder).plan, limits=Limits(asked=time.time(), seconds=1e6))

    def broken() -> ExperimentState:
        raise ZeroDivisionError("steps")

    with Writer(tmp_path / "events.jsonl") as book:
        guard = Guard(ExperimentPaths(folder), plan, book, session=lambda _: None, look=broken)
        guard.begin()
        for _ in range(2):
            guard._due_look = 0.0
            guard.look()
            assert guard.unfit(2) is None
        assert guard.due() is None and guard.first() is not None
    said = [record.text for record in journal.read(tmp_path / "events.jsonl") if isinstance(record, Note)]
    assert said == ["what fits into its limits cannot be told: ZeroDivisionError: steps"]


def test_a_stop_takes_a_step_a_checkpoint_and_the_volume_under_way(tmp_path: Path) -> None:
    folder = tmp_path / "arc"
    write_recording(folder, "arc", 0.25)
    state = state_of(folder)
    needed = stop_seconds(state)
    assert state.run is not None and needed is not None
    step = max(record.high for record in state.run.recent)
    assert step + 0.4 < needed < 2 * (step + 0.4) + 2


# ---------------------------------------------------------------- a command for after the end


def script(folder: Path, text: str) -> str:
    program = folder / "after.py"
    program.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{text}\n")
    program.chmod(0o755)
    return str(program)


def test_the_command_runs_after_the_end_with_the_outcome_and_its_exit_code_is_kept(
    lab: Laboratory, tmp_path: Path
) -> None:
    program = script(tmp_path, "print(sys.argv[1:], os.environ['STEPTOP_OUTCOME'], os.environ['STEPTOP_EXPERIMENT_FOLDER'])\nsys.exit(7)")
    paths = launched(lab, command=OnFinish(argv=(program, "a b", "$HOME", ";ls")))
    over(paths)
    wait_until(lambda: len(after(paths, OnFinishRan)) == 2, what="the command's end")
    began, ended = after(paths, OnFinishRan)
    assert (began.rc, ended.rc, ended.timed_out) == (None, 7, False)
    assert paths.on_finish_log.read_text().strip() == f"['a b', '$HOME', ';ls'] finished {paths.folder}"
    assert any("ended with 7; see on-finish.log" in sentence.text for sentence in look(paths).sentences)
    assert look(paths).phase == "finished"


def test_the_command_is_not_run_after_a_stop_that_was_asked_for_unless_always(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hook: Hook
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    program = script(tmp_path, "print(os.environ['STEPTOP_OUTCOME'])")
    paths = launched(lab, (hook.url,), command=OnFinish(argv=(program,)))
    wait_until(lambda: (run := look(paths).run) is not None and run.step > 2, what="steps")
    control.request(paths, "stop_now", by="me")
    over(paths)
    wait_until(lambda: hook.events() == ["stopped"], what="the message")
    assert not paths.on_finish_log.exists()
    ending = on_finish.Ending(message=TOLD, outcome="stopped", command=OnFinish(argv=(program,), always=True))
    on_finish.begin(paths.folder, ending)
    wait_until(lambda: any(ran.rc == 0 for ran in after(paths, OnFinishRan)), what="the command")
    assert paths.on_finish_log.read_text() == "stopped\n"
    on_finish._started.pop().wait(10)


def test_a_failure_is_told_and_the_command_hears_of_it(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hook: Hook
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "oom_text")
    program = script(tmp_path, "print(os.environ['STEPTOP_OUTCOME'])")
    paths = launched(lab, (hook.url,), command=OnFinish(argv=(program,)))
    over(paths)
    wait_until(lambda: any(ran.rc == 0 for ran in after(paths, OnFinishRan)), what="the command")
    assert paths.on_finish_log.read_text() == "failed\n"
    (body,) = hook.bodies
    assert (body["event"], body["state"]) == ("failed", "failed")
    assert "1 of 1 run failed" in body["text"]


def test_a_command_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        "import subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '600'])\nprint(child.pid, flush=True)\ntime.sleep(600)",
    )
    paths = ExperimentPaths(tmp_path)
    command = OnFinish(argv=(program,), timeout_seconds=0.5)
    ending = on_finish.Ending(message=TOLD, outcome="finished", command=command)
    with Writer(paths.finish) as book:
        on_finish.run(tmp_path, command, ending, book, grace_seconds=0.2)
    ran = after(paths, OnFinishRan)[-1]
    assert (ran.rc, ran.timed_out) == (-signal.SIGKILL, True)
    child = int(paths.on_finish_log.read_text())
    wait_until(lambda: process.start_ticks(child) is None, what="the end of what it started")


def test_a_command_that_cannot_start_is_written_down(tmp_path: Path) -> None:
    paths = ExperimentPaths(tmp_path)
    command = OnFinish(argv=(str(tmp_path / "gone"),))
    with Writer(paths.finish) as book:
        on_finish.run(tmp_path, command, on_finish.Ending(message=TOLD, outcome="failed", command=command), book)
    assert after(paths, OnFinishRan)[-1].error == "No such file or directory"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo done", ("echo", "done")),
        ('echo "a; b" \'c && d\'', ("echo", "a; b", "c && d")),
        ('["sh", "-c", "a && b | c"]', ("sh", "-c", "a && b | c")),
    ],
)
def test_a_command_is_split_into_words_and_no_shell_sees_it(text: str, words: tuple[str, ...]) -> None:
    assert on_finish.parsed(text) == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo a && echo b", "&& is for a shell, and no shell runs it"),
        ("echo a; poweroff", "; is for a shell"),
        ("echo a | sh", "| is for a shell"),
        ("echo a > /tmp/x", "> is for a shell"),
        ("echo $HOME", "$HOME is for a shell"),
        ("echo $(id)", "is for a shell"),
        ("echo `id`", "is for a shell"),
        ('echo "unclosed', "there is no closing quotation"),
        ("", "a program and its arguments"),
        ("[1, 2]", "each a text"),
        ("[", "not a TOML array"),
        ("no-such-program --now", "there is no such program here"),
        ("/etc/passwd", "there is no such program here that can be run"),
    ],
)
def test_what_needs_a_shell_or_is_no_program_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        on_finish.parsed(text)
    assert said in str(refused.value)


def test_own_processes_are_not_taken_for_the_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next supervisor ends what carries its folder: the command of the former end is none of that."""
    monkeypatch.setenv(process.FOLDER, "/x")
    monkeypatch.setenv(process.TOKEN, "t")
    environ = notify.plain_environment()
    assert process.FOLDER not in environ and process.TOKEN not in environ
    assert environ["PATH"] == os.environ["PATH"]
