"""What a denoiser is scored by, and what its peptides are drawn for, whatever the data and the batches are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.config.experiment import Experiment
from engine.config.profile import Profile, defaults
from engine.config.tables import Loss, Model, Term
from engine.training import denoising, job, losses, models
from engine.training.data.tokens import TOKENS, Bytes
from engine.training.models.denoiser import Noised
from engine.training.recorder import LongSpan
from engine.training.tasks.peptides import Peptides
from engine.training.tasks.task import Scoring
from tests.training.test_mimir import lay_out, prepare_here

CRITERION = losses.build(Experiment(loss=Loss(terms={"denoising": Term(), "bound": Term(weight=0.01)})))
STEPS = 35  # of mimir-large

pytestmark = pytest.mark.xdist_group("denoising")


class Silent(nn.Module):
    """Has learnt nothing: every residue as likely as any other. It remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.targets: list[int] = []

    def forward(self, noisy: Tensor, step: Tensor, target: Tensor) -> Tensor:
        self.steps += step.tolist()
        self.targets += target.tolist()
        return torch.zeros(*noisy.shape, TOKENS)


def noised(network: Any, steps: int = STEPS) -> Noised:
    return Noised(network, steps)


def sequences(count: int) -> Bytes:
    return np.random.default_rng(3).integers(0, TOKENS, (count, 20)).astype(np.uint8)


def figures(model: Noised, count: int, batch_size: int = 64) -> dict[str, float]:
    nowhere = torch.zeros(count, dtype=torch.int64)
    return denoising.figures(model, CRITERION, sequences(count), nowhere, batch_size, 1, lambda: None)


@pytest.mark.parametrize("count", [4, 17, 512])
def test_every_step_is_asked_equally_often_however_few_the_sequences_are(count: int) -> None:
    silent = Silent()
    few, many = figures(noised(silent), count), figures(noised(Silent()), 100 * STEPS)
    often = np.bincount(silent.steps, minlength=STEPS + 1)[1:]
    assert set(often) == {-(-count // STEPS)}
    # The first seventeen steps alone say 18.2, the first four 47.4, all of them 9.85.
    assert few["bound"] == pytest.approx(many["bound"], rel=0.1)


def test_the_figures_do_not_depend_on_the_batches_they_are_asked_in() -> None:
    torch.manual_seed(0)
    made = models.build(Model(name="denoiser", channels=16, layers=1, heads=2, diffusion_steps=8, targets=1)).eval()
    assert isinstance(made, Noised)
    first, *others = (figures(made, 50, batch_size) for batch_size in (64, 7, 1))
    for other in others:
        assert other == pytest.approx(first, rel=1e-5)


def write_csv(file: Path) -> None:
    """Every sequence is for something: three of four for actin."""
    rng = np.random.default_rng(4)
    rows = [
        "".join("ACDEFGHIKL"[i] for i in rng.integers(0, 10, 12)) + ("," + ("spike" if n % 4 == 0 else "actin"))
        for n in range(400)
    ]
    file.write_text("\n".join(["sequence,target", *rows]) + "\n")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Peptides:
    folder = tmp_path_factory.mktemp("targets")
    write_csv(folder / "p.csv")
    paths = lay_out(folder, folder / "p.csv")
    prepare_here(paths)
    run = paths.run(1, 0)
    run.folder.mkdir()
    return Peptides(job.read(run.folder))


def test_peptides_are_drawn_for_targets_as_often_as_training_sequences_have_them(task: Peptides) -> None:
    learnt = np.concatenate((task.sequences.targets[: task.first], task.sequences.targets[task.last :]))
    asked = task.asked_for(4000, 0).numpy()
    assert np.abs(np.bincount(asked, minlength=3) / 4000 - np.bincount(learnt, minlength=3) / len(learnt)).max() < 0.03
    assert np.bincount(learnt, minlength=3)[0] == 0, "none of them is for nothing"
    assert not np.array_equal(asked, task.asked_for(4000, 1).numpy())


def test_the_network_is_never_asked_for_a_target_it_has_not_learnt(task: Peptides) -> None:
    silent = Silent()
    model = noised(silent, steps=3)

    @contextmanager
    def span(name: str, total: int) -> Iterator[LongSpan]:
        yield LongSpan(lambda _: None, name, total, time.monotonic)

    stub: Any = SimpleNamespace(scored=model, criterion=CRITERION)
    task.reconstruct(Scoring(stub, Profile(name="test", knobs=defaults()), span, lambda: None))
    assert set(silent.targets) == {1, 2}
