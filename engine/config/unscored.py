"""Whether a run is looked at before it ends: by validation, or by scoring whole held-out volumes in between."""

from __future__ import annotations

from engine.config.plan import Plan

IN_BETWEEN = ("val_every_epochs", "reconstruct_every_epochs")


def switched_off(plan: Plan) -> str:
    """That a launch has switched off what its experiment's file asks for, so that nothing held out is scored before a
    run's end; '' otherwise, and where the file asks for nothing in between (a recipe may have none)."""
    if plan.experiment.command or any(plan.profile[name] for name in IN_BETWEEN):
        return ""
    meant = {name: plan.experiment.knobs[name] for name in IN_BETWEEN if plan.experiment.knobs.get(name)}
    if not meant:
        return ""
    named = " and ".join(f"{name} = {value}" for name, value in meant.items())
    return (
        f"nothing held out is scored before a run's end: {' and '.join(IN_BETWEEN)} are 0; "
        f"the experiment's own is {named}"
    )
