"""The held-out subjects: through the network without autocast, scored one by one, whole or window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from engine.eta.validation import VALIDATION_SUBJECTS
from engine.training import windows
from engine.training.learner import Learner
from engine.training.metrics import METRICS, counts
from engine.training.recorder import LongSpan
from engine.training.samples import Batch
from engine.training.surfaces import FIGURES

# No term of every k-th step counts at it (those do at steps 0, k, 2k, …): they are rare because they are costly.
ORDINARY_STEP = 1


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of each subject, in the order of the volumes. `loss` is that of the main output, sample by sample, by the
    terms that count at every step: training's adds auxiliary outputs and rare terms, over a batch, so they differ."""

    subjects: dict[str, list[float]]

    def mean(self) -> dict[str, float]:
        """Over the subjects for which a figure is defined."""
        means = {}
        for name, values in self.subjects.items():
            defined = [value for value in values if value == value]
            if defined:
                means[name] = sum(defined) / len(defined)
        return means


class Window(NamedTuple):
    """What of a volume goes through the network at a time: its voxels, and how many such blocks side by side."""

    shape: tuple[int, int, int]
    batch_size: int


def evaluate(
    learner: Learner, batches: Iterable[Batch], progress: LongSpan, check_stop: Callable[[], None],
    name_of: Callable[[int], str] = str, window: Window | None = None, further: Sequence[str] = (),
) -> Scores:
    """Dice, AVD, MCC and the loss of every sample, in float32, in the order of the batches. `check_stop` is called
    before each batch. `window`: samples go through the network window by window, on the host otherwise; they may be
    of any size, and have no loss, which is a patch's. `further`: figures of engine.training.surfaces.

    Leaves the model as it was, in training mode or not. Each sample's figures are read from the device; what the
    experiment ignores of a label counts nowhere.
    """
    figures: dict[str, list[float]] = {name: [] for name in (*METRICS, *further, *(() if window else ("loss",)))}
    model, ignored = learner.scored, learner.criterion.config.ignore
    training = model.training
    model.eval()
    try:
        for batch in batches:
            check_stop()
            with torch.no_grad():
                logits, label = _through(learner, batch, window, check_stop)
                for i, draw in enumerate(batch.indices):
                    one, truth = logits[i : i + 1], label[i : i + 1]
                    if window is None:
                        found_loss = learner.criterion(one, truth.long(), ORDINARY_STEP)
                        figures["loss"].append(float(found_loss.total))  # host-device sync
                    predicted, marked = foreground(one)[0], truth[0] > 0
                    if further:
                        counted = truth[0] != ignored
                        solids = [(solid & counted).cpu().numpy() for solid in (predicted, marked)]  # host-device sync
                        for name in further:
                            figures[name].append(FIGURES[name](solids[0], solids[1]))
                    if ignored >= 0:
                        seen = truth[0] != ignored
                        predicted, marked = predicted[seen], marked[seen]
                    found = counts(predicted, marked)  # host-device sync
                    for name, metric in METRICS.items():
                        figures[name].append(metric(found))
                    progress.advance(name_of(draw))
    finally:
        model.train(training)
    return Scores(subjects=figures)


def foreground(logits: Tensor) -> Tensor:
    """(B, C, D, H, W) -> boolean (B, D, H, W): any class but 0; of a single one, where it is more likely than not."""
    return logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1) > 0


def _through(
    learner: Learner, batch: Batch, window: Window | None, check_stop: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """Logits and labels of a batch: on the learner's device, with a window on the host."""
    if window is None:
        image = batch.image.to(learner.device, memory_format=learner.memory_format)
        return learner.scored(image), batch.label.to(learner.device)
    found = [
        windows.logits(
            learner.scored, image, window.shape, window.batch_size, learner.device, learner.memory_format, check_stop
        )
        for image in batch.image
    ]
    return torch.stack(found), batch.label


def validation_indices(count: int) -> list[int]:
    """At most VALIDATION_SUBJECTS of `count` held-out ones, evenly spread: a curve to look at, nothing is chosen by it.
    """
    few = min(count, VALIDATION_SUBJECTS)
    return [i * count // few for i in range(few)]
