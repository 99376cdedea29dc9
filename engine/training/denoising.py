"""What a denoiser is trained on and scored by, over Guess and clean tokens int64 (B, L)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.config.tables import Loss, Term
from engine.training.data.tokens import Bytes
from engine.training.diffusion import bound, cross_entropy
from engine.training.losses import Criterion, Parts
from engine.training.models.denoiser import Guess, Noised
from engine.training.registry import LOSS_TERMS, LOSSES

Numbers: TypeAlias = NDArray[np.int64]

FIGURES = ("ce", "bound", "accuracy", "loss")


class Denoising(nn.Module):
    """Cross-entropy of the clean tokens, nats per token: the auxiliary loss of D3PM (equation 5)."""

    def forward(self, guess: Guess, clean: Tensor) -> Tensor:
        return cross_entropy(guess.logits, clean).mean()


class Bound(nn.Module):
    """The term of the variational bound that belongs to each sequence's step, nats per token (equation 1, over T)."""

    def forward(self, guess: Guess, clean: Tensor) -> Tensor:
        return bound(guess.logits, clean, guess.noisy, guess.t, guess.drawn, guess.kept).mean()


@LOSSES.register("denoising")
def denoising(_config: Loss) -> nn.Module:
    return Denoising()


@LOSS_TERMS.register("denoising")
def denoising_term(_config: Loss, _term: Term) -> nn.Module:
    return Denoising()


@LOSS_TERMS.register("bound")
def bound_term(_config: Loss, _term: Term) -> nn.Module:
    return Bound()


def loss_of(criterion: Criterion, guess: Guess, clean: Tensor, step: int) -> Parts:
    """What the experiment's loss, or its terms, make of a guess. `step`: optimizer steps done."""
    if criterion.single is not None:
        return Parts(criterion.single(guess, clean), {})
    found = {
        name: term.weight * cast(Tensor, criterion.terms[name](guess, clean))
        for name, term in criterion.config.terms.items() if step % term.every == 0
    }
    return Parts(torch.stack(list(found.values())).sum(), {name: value.detach() for name, value in found.items()})


@torch.no_grad()
def figures(
    model: Noised, criterion: Criterion, clean: Bytes, targets: Tensor, batch_size: int, seed: int,
    look: Callable[[], None],
) -> dict[str, float]:
    """Of held-out sequences (N, L): `ce` and `accuracy` over all steps alike, `bound` the whole variational bound of
    −log p, all per token, nats; `loss` the experiment's, with all its terms. In float32.

    Every step of the diffusion is asked equally often, whatever N is, with noise that `seed` alone decides: two
    networks are asked the same, in batches of any size. `look` is called before each batch.
    """
    diffusion, device = model.diffusion, model.diffusion.kept.device
    rows, steps = asked(len(clean), diffusion.steps)
    generator = torch.Generator().manual_seed(seed)
    noise = diffusion.noise((len(rows), clean.shape[1]), generator.device, generator)
    total = torch.zeros(len(FIGURES), dtype=torch.float64, device=device)
    for first in range(0, len(rows), batch_size):
        look()
        these = slice(first, first + batch_size)
        known = torch.from_numpy(clean[rows[these]]).long().to(device)
        t = torch.from_numpy(steps[these]).to(device)
        wanted = targets[torch.from_numpy(rows[these])].to(device)
        guess = model.guess(diffusion.noised_by(known, t, noise.rows(these)), t, wanted)
        right = (guess.logits.argmax(-1) == known).double().mean()
        ce, steps_bound = Denoising()(guess, known), Bound()(guess, known)
        loss = loss_of(criterion, guess, known, 0).total
        total += len(known) * torch.stack((ce.double(), steps_bound.double(), right, loss.double()))
    found = dict(zip(FIGURES, (total / len(rows)).tolist(), strict=True))  # host-device sync
    return found | {"bound": found["bound"] * diffusion.steps + diffusion.prior()}


def asked(count: int, steps: int) -> tuple[Numbers, Numbers]:
    """Which of `count` rows (from 0) is asked at which of the `steps` (from 1), so that every step comes equally often:
    a mean over some of them is no mean over all, since they are the harder the noisier. Some rows are asked once more
    than others; where there are fewer rows than steps, each several times."""
    every = np.arange(-(-count // steps) * steps)
    return every % count, every % steps + 1


def samples(model: Noised, targets: Tensor, length: int, seed: int) -> Bytes:
    """Tokens drawn by the network, (B, length) for `targets` int64 (B,)."""
    wanted = targets.to(model.diffusion.kept.device)

    def network(noisy: Tensor, t: Tensor) -> Tensor:
        return cast(Tensor, model.network(noisy, t, wanted))

    drawn = model.diffusion.samples(network, len(targets), length, torch.Generator().manual_seed(seed))
    found: Bytes = drawn.to(torch.uint8).cpu().numpy()
    return found
