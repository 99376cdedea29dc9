"""RUN/manifest.json: with what this attempt trains."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from typing import Any

import msgspec
import torch

from engine.config.sources import trained_on
from engine.paths import read_json, write_json
from engine.runs.manifest import environment, git_commit, versions
from engine.training.job import Job


def write(job: Job, device: torch.device, device_name: str) -> None:
    """The commit is the one of the launch: this process stands in the run's folder, not in the user's."""
    launch: dict[str, Any] = read_json(job.experiment.manifest, dict) or {}
    write_json(job.run.manifest, {
        "command": [sys.executable, *sys.argv], "launched_as": list(job.plan.command), "attempt": job.attempt,
        "fold": job.key.fold, "restart": job.key.restart, "variant": job.key.variant, "seed": job.key.seed,
        "config_hash": job.config_hash,
        "configuration": msgspec.to_builtins(job.plan.experiment), "profile": msgspec.to_builtins(job.plan.profile),
        "trained_on": trained_on(job.plan), "data_hash": job.prepared.data_hash,
        "train": [subject.id for subject in job.training],
        "held_out": [subject.id for subject in job.held_out],
        "versions": {"python": platform.python_version(), **versions()},
        "git": launch.get("git", git_commit()), "device": str(device), "device_name": device_name,
        "threads": torch.get_num_threads(), "environment": environment(), "cuda": torch.version.cuda or "",
        "host": socket.gethostname(),
        "platform": platform.platform(), "pid": os.getpid(), "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    })
