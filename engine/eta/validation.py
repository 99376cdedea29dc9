"""How many samples and batches validation goes through, from the data and the knobs, and whether it really does; and
whether the other counts of a run are what the data make."""

from __future__ import annotations

from engine.config.prepared import split_of, steps_per_epoch
from engine.config.profile import Profile
from engine.counts import plural
from engine.live.state import ExperimentState, RunState

# Whole volumes take long: so many of the held-out ones are enough for a curve. Patches are taken from all of them.
VALIDATION_SUBJECTS = 16


def validation_samples(held_out: int, profile: Profile) -> int:
    """Volumes, or patches of all volumes, that one validation scores."""
    patches = int(profile["val_patches_per_volume"])
    return held_out * patches if patches else min(held_out, VALIDATION_SUBJECTS)


def validation_batches(held_out: int, profile: Profile) -> int:
    """Forward passes of one validation."""
    return -(-validation_samples(held_out, profile) // int(profile["val_batch_size"]))


def mismatch(state: ExperimentState, run: RunState | None = None) -> str:
    """What is wrong if the validation under way, or all so far, have another length than the data say; '' if not. Of
    the run that is shown, if no other is named."""
    run = run if run is not None else state.run
    if run is None:
        return ""
    split, found = split_of(state.plan, state.prepared, run.key), _items(run, "validate")
    if split is None or found is None:
        return ""
    profile = _profile(state, run)
    wanted = validation_samples(len(split.test), profile)
    if round(found) == wanted:
        return ""
    patches = int(profile["val_patches_per_volume"])
    data = f"{len(split.test)} volumes" + (f" × {patches} patches" if patches else "")
    return f"validation goes through {found:,.0f} samples where {data} make {wanted:,}"


def mismatches(state: ExperimentState, run: RunState) -> tuple[str, ...]:
    """Everything that a run counts otherwise than the data make it: validation, reconstruction, an epoch's steps."""
    found = (mismatch(state, run), _reconstruction(state, run), _epoch(state, run))
    return tuple(text for text in found if text)


def _reconstruction(state: ExperimentState, run: RunState) -> str:
    split, found = split_of(state.plan, state.prepared, run.key), _items(run, "reconstruct")
    if split is None or found is None or round(found) == len(split.test):
        return ""
    return f"reconstruction goes through {found:,.0f} cases where {len(split.test):,} are held out"


def _epoch(state: ExperimentState, run: RunState) -> str:
    """A test's trials have no epochs."""
    split, begin = split_of(state.plan, state.prepared, run.key), run.begin
    if split is None or begin is None or state.plan.test is not None:
        return ""
    profile = _profile(state, run)
    wanted = steps_per_epoch(split, profile)
    if begin.steps_per_epoch == wanted:
        return ""
    told = f"{split.draws or len(split.train):,} samples in batches of {profile['batch_size']}"
    told += f", {profile['accumulate_steps']} to a step," if profile["accumulate_steps"] != 1 else ""
    data = f"steps_per_epoch is {wanted:,}" if profile["steps_per_epoch"] else f"{told} make {wanted:,}"
    return f"an epoch has {plural(begin.steps_per_epoch, 'step')} where {data}"


def _profile(state: ExperimentState, run: RunState) -> Profile:
    """The one it says it has, of which the plan may have changed since."""
    knobs = state.plan.profile.knobs | (run.begin.knobs if run.begin is not None else {})
    return Profile(name=state.plan.profile.name, knobs=knobs)


def _items(run: RunState, name: str) -> float | None:
    """Items of the span under way, or the mean of those that have ended; None where they are not counted."""
    part = run.parts.get(name)
    if run.activity == name and run.activity_total:
        return float(run.activity_total)
    return part.items / part.count if part is not None and part.items else None
