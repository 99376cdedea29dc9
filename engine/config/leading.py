"""What each task calls its samples and their elements, and the figure that held-out cases are judged by first."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.config.experiment import Experiment


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """`figure`: its name in records; `title`: on a screen; `better`: which way. `sample` is a noun, `element` what one
    sample has many of; `whole`: the split under which what is done every reconstruct_every_epochs is told.
    `whole_is_test`: that scores what the evaluation would, so that after the last epoch it is not done again."""

    figure: str
    title: str
    better: Literal["higher", "lower"]
    figures: tuple[str, ...]
    sample: str
    element: str
    whole: str
    whole_is_test: bool = False

    def best(self, values: list[float]) -> float | None:
        if not values:
            return None
        return max(values) if self.better == "higher" else min(values)


MEASURES: dict[str, Measure] = {
    "segmentation": Measure(
        figure="dice", title="Dice", better="higher", figures=("dice", "avd", "mcc"), sample="volume", element="voxel",
        whole="volume", whole_is_test=True,
    ),
    # Held-out cross-entropy of the clean residues, nats per token.
    "peptides": Measure(
        figure="ce", title="CE", better="lower", figures=("ce", "bound", "accuracy", "valid"), sample="sequence",
        element="token", whole="samples",
    ),
}


# Of all tasks: under which whole held-out cases are told between epochs.
WHOLE = frozenset(one.whole for one in MEASURES.values())


def measure(experiment: Experiment) -> Measure:
    return MEASURES[experiment.task]
