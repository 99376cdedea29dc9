"""Small files that say who runs an experiment and how each process ended."""

from __future__ import annotations

import msgspec

from engine.journals.events import Mode, Outcome, Stop
from engine.process import Ident


class SupervisorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """supervisor.json: who holds the lock."""

    who: Ident
    started: float


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """process.json: the trainer of a run's present attempt. `token` is in the environment of all it starts;
    `oom_kills` (the machine's), `cgroup_kills` (its control group's) and `log_offset` are where those counters and the
    log stood at its start; `slot`: its place among the runs side by side."""

    who: Ident
    supervisor: Ident
    token: str
    argv: tuple[str, ...]
    attempt: int
    started: float
    started_monotonic: float
    oom_kills: int = 0
    cgroup_kills: int = 0
    log_offset: int = 0
    slot: int = 0


class ExitInfo(msgspec.Struct, frozen=True, kw_only=True):
    """exit.json: how the supervisor saw it end. `rc` None: it was not its child, so nobody knows."""

    attempt: int
    rc: int | None
    signal: int | None
    stop: Stop | None = None
    swept: int = 0
    survivors: tuple[int, ...] = ()
    oom_kills: int = 0
    at: float = 0.0


class ResultInfo(msgspec.Struct, frozen=True, kw_only=True):
    """result.json: the trainer's own last word about an attempt."""

    outcome: Outcome
    attempt: int = 0
    step: int = 0
    epoch: int = 0
    config_hash: str = ""
    error_class: str = ""
    error: str = ""
    kind: str = ""
    at: float = 0.0


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of results.json that say whether a run is complete."""

    config_hash: str = ""
    test_dice: float | None = None
    test_avd: float | None = None
    test_mcc: float | None = None
    duration_seconds: float = 0.0


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """profile.json in a run's folder: the knobs its trainer shall run with. `mode` and `steps` are for test phases."""

    id: str
    name: str
    knobs: dict[str, bool | int | float | str]
    mode: Mode = "train"
    steps: int = 0
