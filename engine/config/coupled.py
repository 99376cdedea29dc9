"""A learning rate meant for one batch size, which grows in proportion with the batch (Goyal et al. 2017). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.knob import Value
from engine.config.tables import Optimizer

COUPLED = ("batch_size", "accumulate_steps")


def learning_rate(optimizer: Optimizer, knobs: Mapping[str, Value]) -> float:
    """The highest one of a run with these knobs."""
    return optimizer.lr * _batch(knobs) / optimizer.lr_batch if optimizer.lr_batch else optimizer.lr


def rule(optimizer: Optimizer, knobs: Mapping[str, Value]) -> str:
    """What it is with these knobs and why; '' where it is the same at any batch size."""
    if not optimizer.lr_batch:
        return ""
    batch = _batch(knobs)
    return (
        f"lr {learning_rate(optimizer, knobs):.3g}: {optimizer.lr:.3g} is for a batch of {optimizer.lr_batch} and "
        f"grows in proportion with batch_size × accumulate_steps, which is {batch}"
    )


def change(optimizer: Optimizer, before: Mapping[str, Value], after: Mapping[str, Value]) -> str:
    """What another batch size does to it; '' where it stays."""
    was, comes = learning_rate(optimizer, before), learning_rate(optimizer, after)
    if was == comes:
        return ""
    return (
        f"lr {was:.3g} → {comes:.3g} with it: the experiment couples its learning rate to the batch "
        f"(optimizer.lr_batch = {optimizer.lr_batch})"
    )


def _batch(knobs: Mapping[str, Value]) -> int:
    return int(knobs.get("batch_size", 1)) * int(knobs.get("accumulate_steps", 1))
