"""A recorded moment as if several of its runs went on side by side."""

from __future__ import annotations

import msgspec

from engine.live.state import ExperimentState


def at_once(state: ExperimentState, slots: int = 2, devices: tuple[str, ...] = ("0", "1")) -> ExperimentState:
    """The first `slots` runs, each 100 steps behind the one before, the second at half the pace."""
    new = msgspec.structs.replace
    first = state.runs[0]
    assert first.loss is not None
    going = [first]
    for place in range(1, slots):
        slow = tuple(new(line, seconds=2 * line.seconds) for line in first.recent) if place == 1 else first.recent
        key, step = state.runs[place].key, first.step - 100 * place
        going.append(new(first, key=key, slot=place, step=step, loss=first.loss + place / 10, recent=slow))
    plan = new(state.plan, slots=slots, device=devices[0] if devices else "cpu", devices=devices)
    return new(state, plan=plan, runs=(*going, *state.runs[slots:]))
