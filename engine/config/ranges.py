"""Numbers no training can have, however well they are typed."""

from __future__ import annotations

from operator import le
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.config.experiment import Experiment

PREPARED_SHAPE = (
    "8 voxels or more on every side, or [0, 0, 0] (as the files are), which TIFF with a patch.shape can have"
)


def check_ranges(experiment: Experiment, where: str) -> None:
    """Raises UsageError for numbers no training can have."""
    patch = experiment.patch
    rules = (
        (experiment.epochs >= 1, "epochs", "1 or more"),
        (experiment.runs.folds >= (1 if experiment.command else 2), "runs.folds", "2 or more (one part is held out)"),
        (experiment.runs.restarts >= 1, "runs.restarts", "1 or more"),
        (experiment.prepare.spacing_mm > 0, "prepare.spacing_mm", "more than 0"),
        (experiment.command or _shaped(experiment), "prepare.shape", PREPARED_SHAPE),
        (patch.whole or min(patch.shape) >= 4, "patch.shape", "4 voxels or more on every side, or [0, 0, 0]"),
        (
            patch.whole or _as_stored(experiment) or all(map(le, patch.shape, experiment.prepare.shape)), "patch.shape",
            "no larger than prepare.shape",
        ),
        (patch.per_volume >= 1, "patch.per_volume", "1 or more"),
        (0 <= patch.foreground <= 1, "patch.foreground", "a share from 0 to 1"),
        (experiment.model.channels >= 1, "model.channels", "1 or more"),
        (len(experiment.loss.class_weights) == experiment.model.classes, "loss.class_weights", "one weight per class"),
        (
            (experiment.task == "peptides") == (experiment.data.source in ("sequences", "peptides")), "data.source",
            "sequences or peptides for task = peptides, and something else for any other",
        ),
        (experiment.task != "peptides" or experiment.model.diffusion_steps >= 1, "model.diffusion_steps", "1 or more"),
        (experiment.checkpoints.keep >= 2, "checkpoints.keep", "2 or more (the last one may be damaged)"),
    )
    for holds, field, right in rules:
        if not holds:
            raise UsageError(f"{where}: {field} must be {right}")


def _as_stored(experiment: Experiment) -> bool:
    """Whether volumes keep the shapes of their files, which may differ."""
    return not any(experiment.prepare.shape)


def _shaped(experiment: Experiment) -> bool:
    if _as_stored(experiment):
        return not experiment.patch.whole and experiment.data.source in ("tiff", "sheets")
    return min(experiment.prepare.shape) >= 8
