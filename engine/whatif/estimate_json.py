"""`steptop estimate --json` as a documented contract; docs/estimate.md describes every field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.diagnosis.consequences import Range
from engine.whatif.both import both
from engine.whatif.hardware_table import HardwareRow
from engine.whatif.known import Known
from engine.whatif.options import Decision, Option
from engine.whatif.what_if import Question, shape_of
from engine.whatif.wish import Granted

VERSION = 1


def document(
    known: Known,
    question: Question,
    rows: Sequence[HardwareRow],
    found: Sequence[Option],
    wished: Sequence[Granted] = (),
    notes: Sequence[str] = (),
    decision: Decision | None = None,
) -> dict[str, Any]:
    """Builtins only; a missing figure is None."""
    shape, told = shape_of(known, question), both(known, question)
    return {
        "format": VERSION,
        "experiment": known.plan.experiment_name,
        "folder": known.folder,
        "measured": {
            "name": known.name,
            "device": known.device,
            "device_name": known.device_name,
            "gpu": known.gpu.name if known.gpu is not None else None,
            "cores": known.cores,
            "precision": known.precision,
            "batch_size": known.batch,
            "step_seconds": known.step.mean,
            "gpu_busy_share": known.busy,
            "basis": known.step.basis,
            "warming": known.warming,
        },
        "asked": {
            "runs": len(shape.runs),
            "folds": sorted({key.fold for key in shape.runs}),
            "restarts": len({key.restart for key in shape.runs}),
            "epochs": shape.epochs,
            "steps_per_epoch": {str(fold): steps for fold, steps in shape.steps.items()},
            "knobs": dict(question.knobs),
            "gpus": question.gpus,
            "cores": question.cores or known.cores,
            "rest": question.rest,
        },
        "whole": range_document(told.whole) if told is not None else None,
        "left": range_document(told.left) if told is not None else None,
        "hardware": [row_document(row) for row in rows],
        "options": [option_document(option) for option in found],
        "wishes": [wish_document(one) for one in wished],
        "notes": list(notes),
        "decision": msgspec.to_builtins(decision) if decision is not None else None,
    }


def range_document(one: Range) -> Mapping[str, float | str | None]:
    return {"value": one.value, "low": one.low, "high": one.high}


def row_document(row: HardwareRow) -> dict[str, Any]:
    gpu = row.gpu
    return {
        "name": row.name,
        "here": row.here,
        "measured": row.measured,
        "step": range_document(row.times.step),
        "epoch": range_document(row.times.epoch),
        "run": range_document(row.times.run),
        "experiment": range_document(row.times.experiment),
        "speed": range_document(row.speed),
        "limit": row.times.limit,
        "why": row.why,
        "parts": dict(row.times.parts),
        "memory": {"verdict": row.memory, "text": row.memory_text},
        "sessions": [msgspec.to_builtins(one) for one in row.sessions],
        "cost": msgspec.to_builtins(row.money),
        "sheet": msgspec.to_builtins(gpu) if gpu is not None else None,
    }


def option_document(option: Option) -> dict[str, Any]:
    return {
        "number": option.number,
        "title": option.title,
        "runs": option.runs,
        "folds": list(option.folds),
        "restarts": option.restarts,
        "stop_after_runs": option.stop_after_runs,
        "timeline": range_document(option.timeline),
        "cost": msgspec.to_builtins(option.money),
        "gets": list(option.gets),
        "loses": list(option.loses),
    }


def wish_document(one: Granted) -> dict[str, Any]:
    return {
        "of": one.wish.what,
        "hardware": one.hardware or None,
        "low": one.wish.low,
        "high": one.wish.high,
        "now": range_document(one.now),
        "turned": one.turned,
        "least": one.least,
        "most": one.most,
        "text": one.text,
    }
