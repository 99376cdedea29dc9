"""The user's command for when an experiment has ended: read without a shell, run detached, its exit code kept.

`python -m engine.limit.on_finish FOLDER` is started by the supervisor as its last act, with what happened on its input.
It tells the webhooks first: the command may switch the machine off.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec

from engine.errors import UsageError
from engine.journals.journal import Writer
from engine.journals.limit_events import OnFinish, OnFinishRan
from engine.limit import notify
from engine.limit.webhook import Message
from engine.paths import ExperimentPaths
from engine.text import clean

# A command is asked to end, then killed.
GRACE_SECONDS = 5.0
# What a shell would put something else in the place of.
VARIABLE = re.compile(r"\$[A-Za-z_{(]|`")
LONGEST_SECONDS = 86_400.0

# What this process started. It is not waited for; keeping it spares a warning at exit.
_started: list[subprocess.Popen[bytes]] = []


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor passes on: what to tell, and what to run (None: nothing)."""

    message: Message
    outcome: str
    command: OnFinish | None = None


# ---------------------------------------------------------------- reading it


def parsed(text: str, where: str = "--on-finish") -> tuple[str, ...]:
    """The words of a command: a TOML array, or a line split as a shell would, but not run by one. Raises UsageError."""
    if text.lstrip().startswith("["):
        try:
            words = tomllib.loads(f"argv = {text}")["argv"]
        except tomllib.TOMLDecodeError:
            words = None
        if not isinstance(words, list):
            raise UsageError(f'{where} {text!r}: not a TOML array; write it as ["sudo", "poweroff"]')
        return checked(words, where)
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;<>`")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as error:
        raise UsageError(f"{where} {text!r}: {error}".lower().replace("no closing", "there is no closing")) from None
    found = [word for word in words if word and set(word) <= set("|&;<>`")]
    if not found:
        found = [word for word in words if VARIABLE.search(word)]
    if found:
        what = found[0]
        raise UsageError(
            f"{where} {text!r}: {what} is for a shell, and no shell runs it. Put the line into a script and name that, "
            'or ask for one yourself: ["sh", "-c", "…"]'
        )
    return checked(words, where)


def checked(words: object, where: str) -> tuple[str, ...]:
    """A command whose program there is. Raises UsageError."""
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise UsageError(f'{where}: a program and its arguments, each a text, such as ["sudo", "poweroff"]')
    if any("\0" in word for word in words) or not words[0]:
        raise UsageError(f"{where}: no program is named")
    program = Path(words[0]).expanduser()
    if len(program.parts) > 1 and not program.is_absolute():
        program = Path.cwd() / program
    found = shutil.which(str(program))
    if found is None:
        raise UsageError(f"{where} {words[0]!r}: there is no such program here that can be run")
    return (found if len(program.parts) > 1 else words[0], *words[1:])


# ---------------------------------------------------------------- running it


def begin(folder: Path, ending: Ending) -> None:
    """Start it, detached from this process in every way; nothing is waited for."""
    if ending.command is None and not notify.targets(folder):
        return
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.limit.on_finish", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        start_new_session=True,
        env=notify.plain_environment(),
    )
    _started.append(child)
    assert child.stdin is not None
    try:
        child.stdin.write(msgspec.json.encode(ending))
        child.stdin.close()
    except OSError:
        return


def run(
    folder: Path, command: OnFinish, ending: Ending, journal: Writer, grace_seconds: float = GRACE_SECONDS
) -> None:
    """To its end, or until its time is over: then all of its processes are ended."""
    paths, name = ExperimentPaths(folder), command.argv[0]
    journal.write(OnFinishRan(command=name), sync=True)
    began = time.monotonic()
    environ = notify.plain_environment() | {
        "STEPTOP_EXPERIMENT": folder.name,
        "STEPTOP_EXPERIMENT_FOLDER": str(folder),
        "STEPTOP_OUTCOME": ending.outcome,
        "STEPTOP_TEXT": clean(ending.message.text),
    }
    log = os.open(paths.on_finish_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        child = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            env=environ,
        )
    except OSError as error:
        journal.write(OnFinishRan(command=name, error=error.strerror or type(error).__name__), sync=True)
        return
    finally:
        os.close(log)
    timed_out = False
    try:
        child.wait(command.timeout_seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        _end(child, grace_seconds)
    seconds = time.monotonic() - began
    journal.write(OnFinishRan(command=name, rc=child.returncode, seconds=seconds, timed_out=timed_out), sync=True)


def _end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """It and what it started in its session's group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break
    child.wait()


def main(folder: Path) -> int:
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    try:
        ending = msgspec.json.decode(sys.stdin.buffer.read(1 << 20), type=Ending)
    except msgspec.MsgspecError:
        return 2
    paths = ExperimentPaths(folder)
    # A resumed experiment may have ended again while the command of the former end still runs.
    descriptor = os.open(paths.finish_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with Writer(paths.finish) as journal:
        failed = notify.deliver(folder, ending.message)
        if failed:
            journal.write(*failed, sync=True)
        if ending.command is not None:
            run(folder, ending.command, ending, journal)
    os.close(descriptor)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
