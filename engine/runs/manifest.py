"""manifest.json: who ran what, with which versions, on which machine."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from importlib import metadata
from pathlib import Path

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.sources import trained_on
from engine.paths import ExperimentPaths, read_json, write_json

PACKAGES = (
    "steptop", "torch", "numpy", "scipy", "nibabel", "tifffile", "pillow", "scikit-image", "gudhi", "msgspec",
    "textual", "psutil", "nvidia-ml-py",
)
ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG")


def manifest(plan: Plan) -> dict[str, object]:
    """Who ran what, with which versions, where."""
    return {
        "command": list(plan.command),
        "folder": _standing(),
        "name": plan.name,
        "experiment": plan.experiment_name,
        "configuration": msgspec.to_builtins(plan.experiment),
        "profile": msgspec.to_builtins(plan.profile),
        "overridden_locks": plan.overridden,
        "training_hash": plan.training_hash,
        "seeds": sorted({key.seed for key in plan.runs}),
        "runs": [[k.fold, k.restart, *([k.variant] if k.variant else [])] for k in plan.runs],
        "data": plan.data_dir or plan.experiment.data.source,
        "trained_on": trained_on(plan),
        "environment": environment(),
        "data_hash": "",
        "device": plan.device,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "git": git_commit(),
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def environment() -> dict[str, str]:
    """What is set of the variables that threads and devices follow."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def _standing() -> str:
    """Where the command was typed: relative paths in it begin there. '' for a folder that is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return ""


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def git_commit() -> str:
    """The commit checked out where the user stands, '+' behind it if there are changes; '' outside a repository."""
    try:
        where = str(Path.cwd())
        head = subprocess.run(
            ["git", "-C", where, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
        dirty = subprocess.run(
            ["git", "-C", where, "status", "--porcelain", "-uno"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else ""


def with_data_hash(paths: ExperimentPaths) -> None:
    """Complete the manifest with what is known once the volumes are prepared."""
    prepared, known = read_json(paths.data, Prepared), read_json(paths.manifest, dict)
    if prepared is not None and known is not None:
        write_json(paths.manifest, known | {"data_hash": prepared.data_hash})
