"""What was decided at launch: plan.json, and a test of profiles in it."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.config.experiment import Experiment
from engine.config.profile import Profile
from engine.config.run_keys import RunKey
from engine.journals.limit_events import Limits, OnFinish


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile to be tested: all its knobs, and in words what is expected of it and why it is tried."""

    name: str
    knobs: dict[str, bool | int | float | str]
    why: str = ""


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """What a test of profiles does instead of training: `bench` the first phase, `phases` all of them in order, `tune`
    looks for the best from the first one on.

    `steps` per phase, 0 for as many as the precision needs. `gate`: after an unstable phase the next one does not
    start. `batch_sizes`: those the tuner may choose from.
    """

    __test__ = False  # pytest takes what is called Test for tests

    kind: Literal["bench", "phases", "tune"]
    phases: tuple[Phase, ...]
    steps: int = 0
    gate: bool = True
    batch_sizes: tuple[int, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """plan.json: everything a supervisor and a trainer need to know, decided at launch. `slots`: runs that go on side
    by side, each on one of `devices` where that names several. `retries`: how often a run that failed is tried again.
    """

    format: int = 1
    name: str
    experiment_name: str
    experiment: Experiment
    profile: Profile
    runs: tuple[RunKey, ...]
    data_dir: str = ""
    cache_dir: str = ""
    device: str = "auto"
    devices: tuple[str, ...] = ()
    slots: int = 1
    retries: int = 0
    stop_after_runs: int = 0
    training_hash: str = ""
    overridden: dict[str, str] = {}
    over_budget: bool = False
    command: tuple[str, ...] = ()
    created: float = 0.0
    test: Test | None = None
    limits: Limits = Limits()
    on_finish: OnFinish | None = None
