"""How many samples and batches validation goes through, from the data and the knobs, and whether it really does."""

from __future__ import annotations

from engine.config.prepared import split_of
from engine.config.profile import Profile
from engine.live.state import ExperimentState

# Whole volumes take long: so many of the held-out ones are enough for a curve. Patches are taken from all of them.
VALIDATION_SUBJECTS = 16


def validation_samples(held_out: int, profile: Profile) -> int:
    """Volumes, or patches of all volumes, that one validation scores."""
    patches = int(profile["val_patches_per_volume"])
    return held_out * patches if patches else min(held_out, VALIDATION_SUBJECTS)


def validation_batches(held_out: int, profile: Profile) -> int:
    """Forward passes of one validation."""
    return -(-validation_samples(held_out, profile) // int(profile["val_batch_size"]))


def mismatch(state: ExperimentState) -> str:
    """What is wrong if the validation under way, or the last one, has another length than the data says; '' if not."""
    run = state.run
    if run is None or state.prepared is None:
        return ""
    split = split_of(state.plan, state.prepared, run.key)
    part = run.parts.get("validate")
    if run.activity == "validate" and run.activity_total:
        found = float(run.activity_total)
    elif part is not None and part.items:
        found = part.items / part.count
    else:
        return ""
    if split is None:
        return ""
    wanted = validation_samples(len(split.test), state.plan.profile)
    if round(found) == wanted:
        return ""
    patches = int(state.plan.profile["val_patches_per_volume"])
    data = f"{len(split.test)} volumes" + (f" × {patches} patches" if patches else "")
    return f"validation goes through {found:,.0f} samples where {data} make {wanted:,}"
