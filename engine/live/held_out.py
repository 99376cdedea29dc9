"""Held-out figures of a run: the newest of each kind, their curves, and how old they are between two validations."""

from __future__ import annotations

import msgspec

from engine.config.leading import WHOLE
from engine.journals.events import Metrics
from engine.live.sentences import say
from engine.live.state import RunState

POINTS = 500


def with_figures(run: RunState, record: Metrics) -> RunState:
    """`run` with figures of held-out cases: the last ones of its validation, its whole cases, its test."""
    curves = dict(run.curves)
    for name, value in record.values.items():
        key = f"{record.split}/{name}"
        curves[key] = (*curves.get(key, ()), (record.step, value))[-POINTS:]
    run = msgspec.structs.replace(run, curves=curves)
    if record.split == "test":
        words = ", ".join(f"{name} {value:.3f}" for name, value in record.values.items())
        told = say(run, record.t, f"held-out test: {words}", "good")
        return msgspec.structs.replace(run, test=record, sentences=told)
    if record.split in WHOLE:
        return msgspec.structs.replace(run, whole=record)
    return msgspec.structs.replace(run, validation=record) if record.split == "val" else run


def epochs_since(run: RunState, metrics: Metrics) -> int:
    """How many epochs have ended since these figures were measured; 0 while they are those of the last one."""
    ended = run.step // run.steps_per_epoch if run.steps_per_epoch else 0
    return max(0, ended - metrics.epoch) if metrics.epoch else 0


def carried_words(run: RunState, metrics: Metrics) -> str:
    """`carried from epoch 5`, or nothing where they are new."""
    return f"carried from epoch {metrics.epoch}" if epochs_since(run, metrics) else ""
