"""A step's memory estimated in a process of its own, since that needs torch: about three seconds, no device."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache

import msgspec

from engine.config.plan import Plan
from engine.config.run_keys import RunKey, variants_of
from engine.memory.footprint import Estimate

SECONDS = 120.0


def estimate(plan: Plan) -> Estimate | None:
    """For the plan's model, shape, batch, precision and device; None where it cannot be told. Told once for each."""
    if plan.experiment.command:
        return None
    # What the estimate depends on and nothing else, so that another profile of the same step asks for no process.
    knobs = {name: plan.profile[name] for name in ("batch_size", "accumulate_steps", "precision")}
    asked = Plan(
        name="",
        experiment_name="",
        experiment=msgspec.structs.replace(plan.experiment, title="", target=None, knobs={}, locks={}),
        profile=msgspec.structs.replace(plan.profile, name="", title="", knobs=knobs, scaled={}, basis=""),
        runs=tuple(RunKey(fold=0, restart=0, seed=0, variant=variant) for variant in variants_of(plan.runs)),
        device=plan.device,
    )
    return _told(msgspec.json.encode(asked))


@lru_cache(maxsize=32)
def _told(plan: bytes) -> Estimate | None:
    command = [sys.executable, "-P", "-m", "engine.training.vram", "-"]
    try:
        done = subprocess.run(command, input=plan, capture_output=True, timeout=SECONDS, check=True)
        return msgspec.json.decode(done.stdout, type=Estimate)
    except (subprocess.SubprocessError, OSError, msgspec.MsgspecError):
        return None
