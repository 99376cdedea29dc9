"""Discrete diffusion with uniform transitions: D3PM (Austin et al. 2021, arXiv 2107.03006, §3 and appendix A.2.1).

At step t every token stays with probability 1 − β_t and is otherwise drawn anew from all K alike; after T steps nothing
is left of it. ᾱ_t, the share that has never been drawn anew, follows a cosine (Nichol & Dhariwal 2021, eq. 17).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of the cosine: how little the first step changes.
OFFSET = 0.008
MOST = 0.999
# Below this a probability counts as none; its logarithm is -27.6.
TINY = 1e-12

# Noisy tokens (B, L) and steps (B,) -> logits (B, L, K) of the clean tokens.
Network = Callable[[Tensor, Tensor], Tensor]


class Noise(NamedTuple):
    """What decides a draw from q(x_t | x_0), whatever t is: `even` (B, L), 0 to 1, and `others` int64 (B, L), the
    tokens that come where one is drawn anew."""

    even: Tensor
    others: Tensor

    def rows(self, which: slice) -> Noise:
        return Noise(self.even[which], self.others[which])


class Diffusion(nn.Module):
    """`steps` T from 1; `tokens` K. Tokens are int64 (B, L), steps t int64 (B,) in 1 … T."""

    kept: Tensor  # ᾱ_t (T + 1,), ᾱ_0 = 1
    drawn: Tensor  # β_t (T + 1,), β_0 = 0

    def __init__(self, steps: int, tokens: int) -> None:
        super().__init__()
        self.steps, self.tokens = steps, tokens
        wanted = [math.cos((t / steps + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2 for t in range(steps + 1)]
        betas = [0.0, *(min(MOST, 1 - wanted[t] / wanted[t - 1]) for t in range(1, steps + 1))]
        drawn = torch.tensor(betas, dtype=torch.float64)
        self.register_buffer("drawn", drawn.float(), persistent=False)
        self.register_buffer("kept", torch.cumprod(1 - drawn, 0).float(), persistent=False)

    def noised(self, clean: Tensor, t: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw from q(x_t | x_0): (B, L). With a `generator`, from it, wherever that is; else from torch's own."""
        where = clean.device if generator is None else generator.device
        return self.noised_by(clean, t, self.noise(clean.shape, where, generator))

    def noise(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Noise:
        """For (B, L) tokens, on `device`, which is the generator's."""
        even = torch.rand(shape, device=device, generator=generator)
        return Noise(even, torch.randint(self.tokens, shape, device=device, generator=generator))

    def noised_by(self, clean: Tensor, t: Tensor, noise: Noise) -> Tensor:
        """x_t (B, L)."""
        even, others = (one.to(clean.device) for one in noise)
        return torch.where(even < self.kept[t][:, None], clean, others)

    def prior(self) -> float:
        """KL(q(x_T | x_0) ‖ uniform) of one token, nats: what is left of it after the last step."""
        other = (1 - float(self.kept[-1])) / self.tokens
        same = float(self.kept[-1]) + other
        rest = (self.tokens - 1) * other * math.log(other * self.tokens) if other > 0 else 0.0
        return same * math.log(same * self.tokens) + rest

    @torch.no_grad()
    def samples(self, network: Network, count: int, length: int, generator: torch.Generator) -> Tensor:
        """(count, length) tokens, from noise step by step. `generator` is the host's: the same draws on any device."""
        device = self.kept.device

        def draw(probabilities: Tensor) -> Tensor:
            total = probabilities.double().cumsum(-1)
            at = torch.rand((count, length, 1), generator=generator, dtype=torch.float64).to(device) * total[..., -1:]
            return torch.searchsorted(total, at).squeeze(-1).clamp(max=self.tokens - 1)

        noisy = torch.randint(self.tokens, (count, length), generator=generator).to(device)
        for step in range(self.steps, 0, -1):
            t = torch.full((count,), step, dtype=torch.int64, device=device)
            clean = network(noisy, t).float().softmax(-1)
            noisy = draw(clean if step == 1 else before(clean, noisy, self.drawn[t], self.kept[t - 1]).exp())
        return noisy


def before(clean: Tensor, noisy: Tensor, drawn: Tensor, kept: Tensor) -> Tensor:
    """log Σ q(x_{t-1} | x_t, x_0) p(x_0 | x_t) over x_0 (B, L, K), normalised. `clean` (B, L, K) is p(x_0 | x_t):
    one-hot for a known x_0, a network's guess otherwise. `drawn` β_t and `kept` ᾱ_{t-1} (B,).

    The paper's equation 4 weighs with q(x_{t-1}, x_t | x_0). Then even the right p(x_0 | x_t), which cross-entropy
    leads to, would not draw what it has learnt: shares of 0.5, 0.3, 0.1 came out as 0.41, 0.29, 0.14 (T = 7).
    """
    tokens = clean.shape[-1]
    drawn, kept = drawn[:, None, None], kept[:, None, None]
    here = functional.one_hot(noisy, tokens)
    still = kept * (1 - drawn)
    weighed = clean / (still * here + (1 - still) / tokens)
    weighed = weighed / weighed.sum(-1, keepdim=True)
    arrives = (1 - drawn) * here + drawn / tokens
    reached = kept * weighed + (1 - kept) / tokens
    return functional.log_softmax((arrives * reached).clamp(min=TINY).log(), dim=-1)


def bound(logits: Tensor, clean: Tensor, noisy: Tensor, t: Tensor, drawn: Tensor, kept: Tensor) -> Tensor:
    """The variational bound's term of step t (B, L), nats: KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)), at t = 1 the
    cross-entropy of x_0. In float32."""
    logits = logits.float()
    known = before(functional.one_hot(clean, logits.shape[-1]).float(), noisy, drawn, kept)
    told = before(logits.softmax(-1), noisy, drawn, kept)
    divergence = (known.exp() * (known - told)).sum(-1)
    return torch.where((t == 1)[:, None], cross_entropy(logits, clean), divergence)


def cross_entropy(logits: Tensor, clean: Tensor) -> Tensor:
    """−log p(x_0 | x_t) of every token (B, L), nats."""
    return functional.cross_entropy(logits.float().transpose(1, 2), clean, reduction="none")
