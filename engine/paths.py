"""The only file names in the project: where an experiment, its runs and its control files live."""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from engine.errors import UsageError

T = TypeVar("T")

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
SEGMENT = "steps-{:03d}.jsonl"
# Every run's folder, for a glob: of an experiment with variants each begins with its variant's name.
RUNS = "*fold_*_restart_*"
RUN = re.compile(r"^(?:(?P<variant>[A-Za-z0-9][A-Za-z0-9-]*)_)?fold_(?P<fold>\d+)_restart_(?P<restart>\d+)$")
FOLDER_MODE = 0o700


def checked_name(name: str) -> str:
    """`name` if it can be a folder's name; raises UsageError otherwise (no separators, no leading dot or dash)."""
    if not NAME.match(name) or ".." in name:
        raise UsageError(
            f"{name!r} cannot be an experiment's name: letters, digits, '.', '_' and '-' (64 at most, "
            "starting with a letter or digit)"
        )
    return name


class RunPaths:
    """One training's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.console = folder / "console.log"
        self.process = folder / "process.json"
        self.exit = folder / "exit.json"
        self.result = folder / "result.json"
        self.results = folder / "results.json"
        self.final = folder / "final.pt"
        self.latest = folder / "latest.json"
        self.manifest = folder / "manifest.json"
        self.profile = folder / "profile.json"

    def segment(self, attempt: int) -> Path:
        """The journal of one attempt; a resumed run begins a new one."""
        return self.folder / SEGMENT.format(attempt)

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("steps-*.jsonl"))

    def checkpoint(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.pt"

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("step-????????.pt"))


class ExperimentPaths:
    """One experiment's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = folder / "plan.json"
        self.manifest = folder / "manifest.json"
        self.data = folder / "data.json"
        self.lock = folder / "supervisor.lock"
        self.supervisor = folder / "supervisor.json"
        self.supervisor_log = folder / "supervisor.log"
        self.events = folder / "events.jsonl"
        self.machine = folder / "machine.jsonl"
        self.prepare = folder / "prepare.jsonl"
        self.prepare_log = folder / "prepare.log"
        self.prepare_result = folder / "prepare-result.json"
        self.prepare_process = folder / "prepare-process.json"
        self.prepare_exit = folder / "prepare-exit.json"
        self.results = folder / "experiment_results.json"
        self.tuning = folder / "tuning.json"
        self.report = folder / "report.html"
        self.notify = folder / "notify.json"
        self.finish = folder / "finish.jsonl"
        self.finish_lock = folder / "finish.lock"
        self.on_finish_log = folder / "on-finish.log"
        self.decision = folder / "decision.json"
        self.control = folder / "control"
        self.acknowledged = folder / "control" / "ack"

    def run(self, fold: int, restart: int, variant: str = "") -> RunPaths:
        name = f"fold_{fold}_restart_{restart}"
        return RunPaths(self.folder / (f"{variant}_{name}" if variant else name))


def run_named(folder: Path) -> tuple[int, int, str] | None:
    """Fold, restart and variant of a run's folder, by its name; None for one that is called otherwise."""
    match = RUN.match(folder.name)
    return (int(match["fold"]), int(match["restart"]), match["variant"] or "") if match else None


def cache_folder(logs: Path) -> Path:
    """Prepared volumes, shared by every experiment under one logs folder. STEPTOP_CACHE moves it."""
    own = os.environ.get("STEPTOP_CACHE")
    return Path(own).expanduser().absolute() if own else logs / "_cache"


def phantom_folder(logs: Path) -> Path:
    """Volumes that steptop wrote itself."""
    return logs / "_data"


def tuned_file(logs: Path) -> Path:
    """What `steptop tune` found for each kind of training."""
    return logs / "tuned.toml"


def timings_file(logs: Path) -> Path:
    """What ended experiments tell later ones: step times by kind, and how well their forecasts held."""
    return logs / "timings.json"


def experiments_in(logs: Path) -> list[Path]:
    """Experiment folders, the most recently touched first."""
    found = []
    for plan in logs.glob("*/plan.json"):
        folder = plan.parent
        if NAME.match(folder.name):
            newest = max((f.stat().st_mtime for f in (plan, folder / "events.jsonl") if f.exists()), default=0.0)
            found.append((newest, folder))
    return [folder for _, folder in sorted(found, reverse=True)]


def write_atomic(path: Path, data: bytes) -> None:
    """Whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}.{secrets.token_hex(3)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """`value` as indented JSON, atomically."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables; raises UsageError naming it if it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read: it is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_json(path: Path, kind: type[T]) -> T | None:
    """The file as `kind`; None if it is missing, half-written or of another shape."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
