"""Tell the user's webhooks what happened: `python -m engine.limit.notify FOLDER` posts what stands on its input.

A process of its own for every message: an address that does not answer holds nobody up.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from engine.journals.limit_events import NotifyFailed
from engine.limit import webhook
from engine.limit.webhook import Message
from engine.paths import ExperimentPaths, read_json, write_json
from engine.process import FOLDER, TOKEN
from engine.text import clean

Event: TypeAlias = Literal["finished", "stopped", "failed", "stalled", "drift", "at_risk"]
EVENTS: tuple[Event, ...] = ("finished", "stopped", "failed", "stalled", "drift", "at_risk")
# More at once are not sent: something is wrong with the addresses, or with what happens.
MOST_AT_ONCE = 8


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """notify.json: the addresses, readable for their owner alone; they are nowhere else."""

    urls: tuple[str, ...] = ()


def write_targets(folder: Path, urls: Sequence[str]) -> None:
    paths = ExperimentPaths(folder)
    if urls:
        write_json(paths.notify, Targets(urls=tuple(urls)))
    else:
        paths.notify.unlink(missing_ok=True)


def targets(folder: Path) -> tuple[str, ...]:
    found = read_json(ExperimentPaths(folder).notify, Targets)
    return found.urls if found is not None else ()


def message(event: str, experiment: str, state: str, text: str) -> Message:
    said = f"steptop {experiment}: {clean(text)}"
    return Message(
        event=event,
        experiment=experiment,
        state=state,
        text=said,
        content=said,
        host=socket.gethostname(),
        at=time.time(),
    )


def deliver(folder: Path, told: Message, waits: Sequence[float] = webhook.WAITS_SECONDS) -> list[NotifyFailed]:
    """To every address of the experiment; what of it failed."""
    from concurrent.futures import ThreadPoolExecutor

    urls = targets(folder)
    if not urls:
        return []
    with ThreadPoolExecutor(len(urls)) as pool:
        failures = list(pool.map(lambda url: webhook.post(url, told, waits), urls))
    return [
        NotifyFailed(target=failed.target, event=told.event, error=failed.error, tries=failed.tries)
        for failed in failures
        if failed is not None
    ]


class Notifier:
    """Starts one process for each message, and collects what they could not deliver."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        self._told: set[str] = set()

    @property
    def wanted(self) -> bool:
        return bool(targets(self._folder))

    def pids(self) -> set[int]:
        return {child.pid for child in self._children}

    def send(self, told: Message) -> None:
        """Without waiting for anything."""
        if not self.wanted or len(self._children) >= MOST_AT_ONCE:
            return
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.limit.notify", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                start_new_session=True,
                env=plain_environment(),
            )
        except OSError:
            return  # no process to be had: the training needs what is left more than the news
        assert child.stdin is not None
        try:
            child.stdin.write(msgspec.json.encode(told))  # smaller than a pipe
            child.stdin.close()
        except OSError:
            child.kill()
        self._children.append(child)

    def failures(self) -> list[NotifyFailed]:
        """Of messages whose processes have ended since the last look: each address once."""
        found: list[NotifyFailed] = []
        for child in [child for child in self._children if child.poll() is not None]:
            self._children.remove(child)
            assert child.stdout is not None
            with child.stdout as out:
                lines = out.read().splitlines()
            for line in lines:
                try:
                    failed = msgspec.json.decode(line, type=NotifyFailed)
                except msgspec.MsgspecError:
                    continue
                if failed.target not in self._told:
                    self._told.add(failed.target)
                    found.append(failed)
        return found


def plain_environment() -> dict[str, str]:
    """This process's, without what marks a process as one of an experiment's own."""
    return {name: value for name, value in os.environ.items() if name not in (FOLDER, TOKEN)}


def main(folder: Path) -> int:
    try:
        told = msgspec.json.decode(sys.stdin.buffer.read(1 << 16), type=Message)
    except msgspec.MsgspecError:
        return 2
    failed = deliver(folder, told)
    for one in failed:
        sys.stdout.buffer.write(msgspec.json.encode(one) + b"\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
