"""How held-out cases are scored: which spans score alike, and how many forward passes an item of each takes.

Pure. A pass is the network once over what one sample of training is.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

from engine.config import windows
from engine.config.drawing import DRAWN, DRAWN_AT_THE_END, VALIDATED
from engine.config.leading import measure
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.sources import MADE

# A curve to look at; all held-out cases as wholes, every so many epochs; and the same at the end.
Scoring: TypeAlias = Literal["validate", "reconstruct", "evaluate"]

# A patch of validation has half a volume's sides where training is on whole volumes.
HALVED = 8
# Windows that a whole volume is taken to have where nobody knows its size: three along each side.
USUAL_WINDOWS = 27.0


def scored_as(plan: Plan, span: Scoring) -> str:
    """What an item of the span is, and what it is judged by: items of equal ones cost the same. A validation of patches
    says nothing of one of whole volumes, nor one by Dice alone of one by surfaces too."""
    experiment = plan.experiment
    if experiment.command:
        return "of its own"
    if not measure(experiment).whole_is_test:
        return span
    if span == "validate":
        return "patch" if plan.profile["val_patches_per_volume"] else "whole"
    return ", ".join(("whole", *experiment.figures))


def windows_of(plan: Plan, prepared: Prepared | None = None) -> float:
    """How many windows a held-out case takes as a whole, the mean of all of them; 1 where a sample of training is a
    whole volume already, 0 where nobody knows its size."""
    experiment = plan.experiment
    if experiment.patch.whole or experiment.command:
        return 1.0
    shapes = [experiment.prepare.shape]
    if not all(experiment.prepare.shape):  # each volume keeps its own
        shapes = [one.shape for one in prepared.subjects if all(one.shape)] if prepared is not None else []
        if not shapes and experiment.data.source in MADE:
            shapes = [experiment.data.shape]
    if not shapes:
        return 0.0
    alike = Counter(shapes)
    return sum(many * windows.count(shape, experiment.patch.shape) for shape, many in alike.items()) / len(shapes)


def passes(plan: Plan, span: Scoring, prepared: Prepared | None = None) -> float:
    """Forward passes for one item of the span."""
    if plan.experiment.task == "peptides":
        return _of_sequences(plan, span, prepared)
    if span == "validate" and plan.profile["val_patches_per_volume"]:
        return 1 / HALVED if plan.experiment.patch.whole else 1.0
    return windows_of(plan, prepared) or USUAL_WINDOWS


def _of_sequences(plan: Plan, span: Scoring, prepared: Prepared | None) -> float:
    """Of a held-out part: a sequence is asked once, a peptide is drawn in as many steps as the diffusion has."""
    steps, rows = plan.experiment.model.diffusion_steps, _rows(prepared)
    if span == "reconstruct":
        return float(DRAWN * steps)
    if span == "evaluate":
        return rows + DRAWN_AT_THE_END * steps
    return 1.0 if plan.profile["val_patches_per_volume"] else min(rows, float(VALIDATED))


def _rows(prepared: Prepared | None) -> float:
    """Sequences of a part, as many as those that are learnt from have; what validation sees where nobody knows."""
    split = next((one for one in prepared.splits if one.draws and one.train), None) if prepared is not None else None
    return split.draws / len(split.train) if split is not None else float(VALIDATED)
