"""What each task calls its samples and their elements, and the figure that held-out cases are judged by first."""

from __future__ import annotations

from math import log
from typing import Literal

import msgspec

from engine.config.experiment import Experiment


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """`figure`: its name in records; `title`: on a screen; `better`: which way. `sample` is a noun, `element` what one
    sample has many of; `whole`: the split under which what is done every reconstruct_every_epochs is told.
    `whole_is_test`: that scores what the evaluation would, so that after the last epoch it is not done again. `blank`:
    no better than that is a model that has learned nothing."""

    figure: str
    title: str
    better: Literal["higher", "lower"]
    figures: tuple[str, ...]
    sample: str
    element: str
    whole: str
    blank: float
    whole_is_test: bool = False

    def learned(self, value: float) -> bool:
        """Whether a held-out figure says that anything was."""
        return not (value <= self.blank if self.better == "higher" else value >= self.blank)

    def best(self, values: list[float]) -> float | None:
        if not values:
            return None
        return max(values) if self.better == "higher" else min(values)


# Marking nothing, or nothing right, is a Dice of 0; less than this is written as 0.000 or <0.001.
BLANK_DICE = 0.0005
# Guessing blindly among 20 residues and the padding, nats.
BLIND_CE = log(21)

MEASURES: dict[str, Measure] = {
    "segmentation": Measure(
        figure="dice", title="Dice", better="higher", figures=("dice", "avd", "mcc"), sample="volume", element="voxel",
        whole="volume", blank=BLANK_DICE, whole_is_test=True,
    ),
    # Held-out cross-entropy of the clean residues, nats per token.
    "peptides": Measure(
        figure="ce", title="CE", better="lower", figures=("ce", "bound", "accuracy", "valid"), sample="sequence",
        element="token", whole="samples", blank=BLIND_CE,
    ),
}


# Of all tasks: under which whole held-out cases are told between epochs.
WHOLE = frozenset(one.whole for one in MEASURES.values())


def measure(experiment: Experiment) -> Measure:
    return MEASURES[experiment.task]
