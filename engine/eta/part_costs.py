"""What one of everything beside a step costs: a span of a run, a held-out subject, a process's start and end."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot, sqrt

from engine.eta.costs import CLOSING_SECONDS, EARLIER, MODELLED, Cost, Kind, closings
from engine.eta.variants import pooled_alike
from engine.eta.work import voxels
from engine.live.state import ExperimentState, Part, RunState


def part_cost(state: ExperimentState, name: str, history: Mapping[str, float], fallback: Cost) -> Cost:
    """One span called `name`: measured in any run, else from `history`, else `fallback`."""
    part = pooled_alike(state, name)
    if part.count:
        error = hypot(0.1 / sqrt(part.count), 0.02) * part.mean
        return Cost(part.mean, error, 0.15 * part.mean, basis="measured here", kind="measured")
    if name in history:
        return Cost(history[name], 0.15 * history[name], 0.15 * history[name], basis=EARLIER, kind="earlier")
    return fallback


def closing_cost(state: ExperimentState, history: Mapping[str, float]) -> Cost:
    """What a run takes beside steps and spans: its process's start and end."""
    left = closings(state)
    if not left and "closing" in history:
        mean = history["closing"]
        return Cost(mean, 0.3 * mean, 0.3 * mean, basis=EARLIER, kind="earlier")
    if not left:
        return Cost(CLOSING_SECONDS, CLOSING_SECONDS)
    mean = sum(left) / len(left)
    return Cost(mean, 0.3 * mean, 0.3 * mean, basis="measured here", kind="measured")


def item_cost(state: ExperimentState, run: RunState | None, name: str, history: Mapping[str, float]) -> Cost | None:
    """One subject validated or evaluated: measured, from the other of the two, from `history`, or modelled as
    loading a sample and one forward pass. None when there is nothing to go by."""
    others = ("reconstruct", "validate") if name == "evaluate" else ("evaluate",)
    sources: tuple[tuple[str, float, str, Kind], ...] = (
        (name, 0.04, "measured here", "measured"),
        *((other, 0.12, f"modelled from {other}", "modelled") for other in others),
    )
    for source, error, basis, kind in sources:
        part, more = pooled_alike(state, source), voxels(state.plan, name) / voxels(state.plan, source)
        if run is not None and run.activity == source and run.activity_done:
            part = Part(
                part.count + 1,
                part.seconds + run.busy_seconds(state.now_monotonic),
                0.0,
                part.items + run.activity_done,
            )
        if part.items:
            each = more * part.seconds / part.items
            return Cost(each, hypot(error, 0.06 / sqrt(part.count)) * each, 0.2 * each, 0.0, basis, kind)
        if source in history:
            each = more * history[source]
            basis, kind = (EARLIER, "earlier") if source == name else (f"{basis}, {EARLIER}", kind)
            return Cost(each, hypot(error, 0.1) * each, 0.2 * each, 0.0, basis, kind)
    known = [r for r in (run, *state.runs) if r is not None and r.recent]
    if not known:
        return None
    recent = known[0].recent
    samples = sum(record.samples for record in recent)
    if not samples:
        return None
    loads = sum(record.loads for record in recent)
    load = sum(r.load_seconds for r in recent) / loads if loads else sum(r.spans.data for r in recent) / samples
    each = load + sum(r.spans.h2d + r.spans.forward for r in recent) / samples
    each = (each or sum(r.seconds for r in recent) / samples) * voxels(state.plan, name) / voxels(state.plan, "step")
    return Cost(each, MODELLED * each, 0.2 * each, basis="modelled from the forward pass")
