"""The held-out subjects: through the network without autocast, scored one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import torch

from engine.eta.validation import VALIDATION_SUBJECTS
from engine.training.learner import Learner
from engine.training.metrics import METRICS, counts
from engine.training.recorder import LongSpan
from engine.training.samples import Batch


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of each subject, in the order of the volumes; `loss` is what training minimises."""

    subjects: dict[str, list[float]]

    def mean(self) -> dict[str, float]:
        """Over the subjects for which a figure is defined."""
        means = {}
        for name, values in self.subjects.items():
            defined = [value for value in values if value == value]
            if defined:
                means[name] = sum(defined) / len(defined)
        return means


def evaluate(
    learner: Learner, batches: Iterable[Batch], progress: LongSpan, check_stop: Callable[[], None],
    name_of: Callable[[int], str] = str,
) -> Scores:
    """Dice, AVD, MCC and the loss of every sample, in float32, in the order of the batches. `check_stop` is called
    before each batch.

    Leaves the model as it was, in training mode or not. Each sample's figures are read from the device; what the
    experiment ignores of a label counts nowhere.
    """
    figures: dict[str, list[float]] = {name: [] for name in (*METRICS, "loss")}
    model, device, ignored = learner.scored, learner.device, learner.criterion.config.ignore
    training = model.training
    model.eval()
    try:
        for batch in batches:
            check_stop()
            image = batch.image.to(device, memory_format=learner.memory_format)
            label = batch.label.to(device)
            with torch.no_grad():
                logits = model(image)
                for i, draw in enumerate(batch.indices):
                    one, truth = logits[i : i + 1], label[i : i + 1]
                    figures["loss"].append(float(learner.criterion(one, truth.long()).total))  # host-device sync
                    predicted, marked = one.argmax(1) > 0, truth > 0
                    if ignored >= 0:
                        seen = truth != ignored
                        predicted, marked = predicted[seen], marked[seen]
                    found = counts(predicted, marked)  # host-device sync
                    for name, metric in METRICS.items():
                        figures[name].append(metric(found))
                    progress.advance(name_of(draw))
    finally:
        model.train(training)
    return Scores(subjects=figures)


def validation_indices(count: int) -> list[int]:
    """At most VALIDATION_SUBJECTS of `count` held-out ones, evenly spread: a curve to look at, nothing is chosen by it.
    """
    few = min(count, VALIDATION_SUBJECTS)
    return [i * count // few for i in range(few)]
