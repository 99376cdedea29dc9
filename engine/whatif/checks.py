"""A checklist that ticks itself: what a training has shown, each with its evidence; None is not known yet."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from engine.config.leading import measure
from engine.counts import plural
from engine.live.state import ExperimentState, RunState

# A loss falls when the last third of what was trained lies below the first third.
FEWEST_LOSSES = 6
VALID = 0.5


class Check(NamedTuple):
    """`text` is what it asks; `look` answers from the journals, with what shows it."""

    text: str
    look: Callable[[ExperimentState], tuple[bool | None, str]]


def _begun(state: ExperimentState) -> RunState | None:
    return next((run for run in state.runs if run.begin is not None), None)


def _installed(state: ExperimentState) -> tuple[bool | None, str]:
    run = _begun(state)
    if run is not None and run.begin is not None:
        return True, f"a trainer began on {run.begin.device_name or run.begin.device}"
    if state.verdict is not None and state.verdict.kind == "crash":
        return False, state.verdict.text
    return None, ""


def _data(state: ExperimentState) -> tuple[bool | None, str]:
    run = _begun(state)
    if run is not None and run.step:
        many = f"{plural(len(state.prepared.subjects), 'subject')}, " if state.prepared is not None else ""
        return True, f"{many}{plural(sum(one.step for one in state.runs), 'step')} of them"
    return None, f"{plural(len(state.prepared.subjects), 'subject')} prepared" if state.prepared is not None else ""


def _loop(state: ExperimentState) -> tuple[bool | None, str]:
    for run in state.runs:
        if run.steps_per_epoch and run.step >= run.steps_per_epoch:
            return True, f"an epoch of {plural(run.steps_per_epoch, 'step')} ended"
    return None, ""


def _gpu(state: ExperimentState) -> tuple[bool | None, str]:
    run = _begun(state)
    if run is None or run.begin is None:
        return None, ""
    name = run.begin.device_name or run.begin.device
    utils = [gpu.util for one in state.samples for gpu in one.gpus if gpu.own_memory and gpu.util is not None]
    busy = f", busy {sum(utils) / len(utils):.0f} % of {plural(len(utils), 'reading')}" if utils else ""
    return run.begin.device != "cpu", f"{name}{busy}"


def _memory(state: ExperimentState) -> tuple[bool | None, str]:
    for run in state.runs:
        if run.verdict is not None and "oom" in run.verdict.kind:
            return False, run.verdict.text
    stepped = [run for run in state.runs if run.step]
    if not stepped:
        return None, ""
    peak = max((run.memory.peak_reserved for run in stepped if run.memory is not None), default=0)
    return True, f"{peak / (1 << 30):.1f} GiB of the GPU at most" if peak else "no run ran out of it"


def _falls(state: ExperimentState) -> tuple[bool | None, str]:
    for run in state.runs:
        losses = [bucket.loss for bucket in run.pace.buckets if math.isfinite(bucket.loss)]
        if len(losses) < FEWEST_LOSSES:
            continue
        third = len(losses) // 3
        first, last = sum(losses[:third]) / third, sum(losses[-third:]) / third
        return last < first, f"{first:.4g} → {last:.4g}"
    return None, ""


def _saved(state: ExperimentState) -> tuple[bool | None, str]:
    for run in reversed(state.runs):
        if run.checkpoint is not None:
            if run.checkpoint.error:
                return False, run.checkpoint.error
            if run.checkpoint.verified:
                return True, f"{run.checkpoint.file}, read again and verified"
            return None, f"{run.checkpoint.file}, not verified"
    return None, ""


def _finished(state: ExperimentState) -> tuple[bool | None, str]:
    done = f"{state.runs_finished} of {plural(len(state.runs), 'run')}"
    if state.runs and state.runs_finished == len(state.runs):
        return True, done
    if state.phase == "failed" and state.verdict is not None:
        return False, state.verdict.text or done
    return None, done


def _results(state: ExperimentState) -> tuple[bool | None, str]:
    kind = measure(state.plan.experiment)
    found = [run.test.values[kind.figure] for run in state.runs if run.test and kind.figure in run.test.values]
    if not found:
        return None, ""
    return True, f"held-out {kind.title} {sum(found) / len(found):.3f} over {plural(len(found), 'run')}"


def _drawn(state: ExperimentState) -> tuple[bool | None, str]:
    curves = [run.curves[name] for run in state.runs for name in ("test/valid", "samples/valid") if name in run.curves]
    if not curves:
        return None, ""
    share = curves[0][-1][1]
    return share >= VALID, f"{share:.0%} of those drawn last"


CHECKS: dict[str, Check] = {
    "installed": Check("everything is installed", _installed),
    "data loads": Check("the data loads", _data),
    "loop runs": Check("the training loop runs", _loop),
    "gpu used": Check("a GPU is used", _gpu),
    "memory fits": Check("memory fits", _memory),
    "loss falls": Check("the loss falls", _falls),
    "checkpoint saved": Check("a checkpoint is saved and verified", _saved),
    "finished": Check("every run ends", _finished),
    "samples valid": Check("most of the samples it draws are valid", _drawn),
    "results": Check("it is scored on held-out subjects", _results),
}
