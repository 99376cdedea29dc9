"""What a denoiser is trained on and scored by, over Guess and clean tokens int64 (B, L)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from engine.config.experiment import Loss, Term
from engine.training.data.tokens import Bytes
from engine.training.diffusion import bound, cross_entropy
from engine.training.losses import Criterion, Parts
from engine.training.models.denoiser import Guess, Noised
from engine.training.registry import LOSS_TERMS, LOSSES

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
    −log p, all per token, nats; `loss` what training minimises. In float32.

    Every sequence is seen once, at the step that its place says, with noise that `seed` alone decides: two networks are
    asked the same. `look` is called before each batch.
    """
    diffusion, device = model.diffusion, model.diffusion.kept.device
    noise = torch.Generator().manual_seed(seed)
    total = torch.zeros(len(FIGURES), dtype=torch.float64, device=device)
    for first in range(0, len(clean), batch_size):
        look()
        known = torch.from_numpy(clean[first : first + batch_size].copy()).long().to(device)
        t = (torch.arange(first, first + len(known)) % diffusion.steps + 1).to(device)
        guess = model.guess(diffusion.noised(known, t, noise), t, targets[first : first + len(known)].to(device))
        right = (guess.logits.argmax(-1) == known).double().mean()
        ce, steps_bound = Denoising()(guess, known), Bound()(guess, known)
        loss = loss_of(criterion, guess, known, 0).total
        total += len(known) * torch.stack((ce.double(), steps_bound.double(), right, loss.double()))
    found = dict(zip(FIGURES, (total / len(clean)).tolist(), strict=True))  # host-device sync
    return found | {"bound": found["bound"] * diffusion.steps + diffusion.prior()}


def samples(model: Noised, count: int, length: int, seed: int) -> Bytes:
    """(count, length) tokens drawn by the network, for no target."""

    def network(noisy: Tensor, t: Tensor) -> Tensor:
        return cast(Tensor, model.network(noisy, t, torch.zeros(len(noisy), dtype=torch.int64, device=noisy.device)))

    drawn = model.diffusion.samples(network, count, length, torch.Generator().manual_seed(seed))
    found: Bytes = drawn.to(torch.uint8).cpu().numpy()
    return found
