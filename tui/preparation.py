"""How far preparation is, in words, for the screen and the command line."""

from __future__ import annotations

from engine.config.leading import measure
from engine.live.state import ExperimentState


def samples(state: ExperimentState) -> str:
    """What it learns from: `volumes`, `sequences`."""
    return f"{measure(state.plan.experiment).sample}s"


def preparing(state: ExperimentState) -> tuple[str, float | None]:
    """As a sentence and as a fraction. Volumes are counted, sequences have stages."""
    progress, what = state.preparing, samples(state)
    if progress is None or not progress.total:
        return f"looking at the {what}", None
    name = f" · {progress.text}" if progress.text else ""
    count = f" {progress.done} of {progress.total}" if what == "volumes" else ""
    return f"preparing {what}{count}{name}", progress.done / progress.total
