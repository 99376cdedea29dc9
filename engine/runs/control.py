"""Requests to a running experiment, and its acknowledgements: one small file each.

A request persists until somebody reads it, so it survives the end of the terminal that made it, works over NFS and
leaves a trace. `control/<id>.json` is the request, `control/ack/<id>.json` the answer; ids sort by time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import Literal, TypeAlias

import msgspec

from engine.errors import DISK_FULL, UsageError
from engine.journals.events import Stop
from engine.journals.limit_events import Limits
from engine.journals.records import SupervisorInfo
from engine.paths import ExperimentPaths, read_json, write_json
from engine.process import alive
from engine.runs.requeue import Wish

Verb: TypeAlias = Literal["stop_after_run", "stop_now", "stop_force", "stop_cancel", "profile", "limit", "queue"]


# The stops, and how far each goes: one that is asked for later must go farther.
STOPS: dict[str, Stop] = {"stop_after_run": "after_run", "stop_now": "now", "stop_force": "force"}
RANK: dict[Stop, int] = {"after_run": 1, "now": 2, "force": 3}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`name`, `knobs` and `override` (of locks) are for the verb `profile`, `limits` (all of them) for `limit`, `queue`
    for `queue`."""

    id: str
    verb: Verb
    by: str = ""
    at: float = 0.0
    name: str = ""
    knobs: dict[str, bool | int | float | str] = {}
    override: bool = False
    limits: Limits | None = None
    queue: Wish | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    accepted: bool
    text: str = ""
    at: float = 0.0


def request(
    paths: ExperimentPaths,
    verb: Verb,
    by: str = "",
    profile: str = "",
    knobs: dict[str, bool | int | float | str] | None = None,
    override: bool = False,
    limits: Limits | None = None,
    queue: Wish | None = None,
) -> str:
    """Leave a request; returns its id. Raises UsageError if the folder cannot be written."""
    name = f"{time.time_ns():020d}-{secrets.token_hex(3)}"
    asked = Request(
        id=name, verb=verb, by=by, at=time.time(), name=profile, knobs=knobs or {}, override=override, limits=limits,
        queue=queue,
    )
    try:
        paths.acknowledged.mkdir(parents=True, exist_ok=True)
        write_json(paths.control / f"{name}.json", asked)
    except OSError as error:
        info = read_json(paths.supervisor, SupervisorInfo)
        besides = f"; `kill {info.who.pid}` stops it as --now does" if info is not None and alive(info.who) else ""
        mend = "free some space and ask again" if error.errno in DISK_FULL else "only its owner can ask"
        raise UsageError(f"{paths.control} cannot be written ({error.strerror}): {mend}{besides}") from None
    return name


def withdraw(paths: ExperimentPaths, name: str) -> bool:
    """Take a request back; False if it has been answered by now."""
    try:
        (paths.control / f"{name}.json").unlink()
    except FileNotFoundError:
        return False
    return True


def pending(paths: ExperimentPaths) -> list[Request]:
    """Requests nobody has answered, oldest first. Files of another user or shape are passed over."""
    found = []
    try:
        entries = sorted(os.scandir(paths.control), key=lambda entry: entry.name)
    except OSError:
        return []
    for entry in entries:
        if not entry.name.endswith(".json") or not entry.is_file(follow_symlinks=False):
            continue
        if entry.stat(follow_symlinks=False).st_uid != os.getuid():
            continue
        asked = read_json(paths.control / entry.name, Request)
        if asked is not None and f"{asked.id}.json" == entry.name:
            found.append(asked)
    return found


def answer(paths: ExperimentPaths, asked: Request, accepted: bool, text: str = "") -> None:
    """Write the acknowledgement, if there is room for it, then take the request away."""
    with contextlib.suppress(OSError):
        paths.acknowledged.mkdir(parents=True, exist_ok=True)
        write_json(
            paths.acknowledged / f"{asked.id}.json", Answer(id=asked.id, accepted=accepted, text=text, at=time.time())
        )
    (paths.control / f"{asked.id}.json").unlink(missing_ok=True)


def answer_to(paths: ExperimentPaths, name: str) -> Answer | None:
    return read_json(paths.acknowledged / f"{name}.json", Answer)
