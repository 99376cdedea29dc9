"""What every test may use: a logs folder of its own and experiments that train with a stand-in trainer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from engine import process
from engine.config.experiment import Experiment, from_table, resolve_profile
from engine.config.hashes import training_hash
from engine.config.plan import Plan
from engine.config.profile import Profile
from engine.config.run_keys import runs_of
from engine.journals.records import ProcessInfo, SupervisorInfo
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import RUNS, ExperimentPaths, read_json
from engine.runs import launch
from engine.runs.launch import lay_out, supervise

# The same examples everywhere: what passes here passes elsewhere. `--hypothesis-profile=default` draws new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

FAKE_TRAINER = Path(__file__).parent / "fake_trainer.py"


def wait_until(condition: Callable[[], object], seconds: float = 20.0, what: str = "") -> None:
    """Poll until `condition` is true; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what or condition}")
        time.sleep(0.02)


def has_ended(paths: ExperimentPaths) -> bool:
    """Whether the experiment's last line is written and its supervisor is gone."""
    state = Watch(paths.folder).poll()
    return state.ended is not None and not state.supervisor_alive


def until_ended(paths: ExperimentPaths, seconds: float = 60.0) -> ExperimentState:
    """Wait for that end; what is known of the experiment then."""
    wait_until(lambda: has_ended(paths), seconds, "the end")
    return Watch(paths.folder).poll()


def fake_plan(name: str = "fake", folds: int = 2, restarts: int = 2, **more: object) -> Plan:
    """An experiment whose trainer is tests/fake_trainer.py: real processes and journals, no torch."""
    table = {
        "title": "stand-in",
        "command": [sys.executable, "-P", str(FAKE_TRAINER)],
        "epochs": 2,
        "runs": {"folds": folds, "restarts": restarts},
    }
    experiment = from_table(table, "test")
    profile, _ = resolve_profile(experiment, "conservative", "", {}, {})
    return whole_plan(experiment, profile, name, created=time.time(), **more)


def whole_plan(experiment: Experiment, profile: Profile, name: str = "e", **more: object) -> Plan:
    """A plan of all runs of the experiment, unless `more` names others."""
    fields: dict[str, object] = {"experiment_name": name, "runs": runs_of(experiment)} | more
    return Plan(
        name=name,
        experiment=experiment,
        profile=profile,
        training_hash=training_hash(experiment, profile),
        **fields,  # type: ignore[arg-type]
    )


class Laboratory:
    """Starts experiments in a folder of the test's own and leaves no process behind."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.folders: list[Path] = []

    def launch(self, plan: Plan) -> ExperimentPaths:
        folder = self.logs / plan.name
        self.folders.append(folder)
        lay_out(folder, plan)
        supervise(folder)
        return ExperimentPaths(folder)

    def trainer(self, paths: ExperimentPaths, fold: int = 0, restart: int = 0) -> ProcessInfo:
        """The trainer of a run, once it is there."""
        run = paths.run(fold, restart)
        wait_until(lambda: read_json(run.process, ProcessInfo), what="process.json")
        info = read_json(run.process, ProcessInfo)
        assert info is not None
        return info

    def supervisor(self, paths: ExperimentPaths) -> SupervisorInfo:
        info = read_json(paths.supervisor, SupervisorInfo)
        assert info is not None
        return info

    def close(self) -> None:
        """End what still runs: by the idents and tokens this laboratory's experiments wrote down."""
        for child in launch._started:
            child.poll()
        for folder in self.folders:
            paths = ExperimentPaths(folder)
            info = read_json(paths.supervisor, SupervisorInfo)
            if info is not None:
                process.signal_safely(info.who, 9)
            for file in (*folder.glob(f"{RUNS}/process.json"), paths.prepare_process):
                child = read_json(file, ProcessInfo)
                if child is not None:
                    process.signal_safely(child.who, 9)
                    for pid in process.holding(child.token):
                        who = process.ident(pid)
                        if who is not None:
                            process.signal_safely(who, 9)


@pytest.fixture(scope="session", autouse=True)
def _ended_supervisors() -> Iterator[None]:
    """Looked after once, or the interpreter takes them for running when it ends."""
    yield
    for child in launch._started:
        child.poll()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    laboratory = Laboratory(tmp_path / "logs")
    (tmp_path / "logs").mkdir()
    yield laboratory
    laboratory.close()
