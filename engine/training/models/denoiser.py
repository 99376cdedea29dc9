"""A transformer that tells from noisy residues which ones they were: the network of discrete diffusion.

Pre-norm blocks (attention over all positions, then a feed-forward layer of four times the width), the diffusion step as
a sinusoid through two layers (Ho et al. 2020), added to every position. 128/3/4, 256/4/4 and 512/6/8 (width, layers,
heads) have 838,677, 3,908,885 and 21,462,549 parameters with 812 targets.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config.tables import Model
from engine.errors import UsageError
from engine.training.data.tokens import MAX_LENGTH, TOKENS
from engine.training.diffusion import Diffusion
from engine.training.registry import MODELS

WIDER = 4
LONGEST_PERIOD = 10_000.0
# Of first embeddings (Radford et al. 2018).
SPREAD = 0.02


class Block(nn.Module):
    """(B, L, width) -> the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.before_wide = nn.LayerNorm(width)
        self.wide = nn.Linear(width, WIDER * width)
        self.narrow = nn.Linear(WIDER * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        mixed = self.queries_keys_values(self.before_attention(x))
        q, k, v = mixed.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        x = x + self.attended(seen.transpose(1, 2).reshape(batch, length, width))
        wide = functional.gelu(self.wide(self.before_wide(x)))
        return x + functional.dropout(cast(Tensor, self.narrow(wide)), self.dropout, self.training)


class Guess(NamedTuple):
    """`logits` (B, L, K) of the clean tokens behind `noisy` (B, L) at step `t` (B,); `drawn` β_t and `kept` ᾱ_{t-1}
    (B,)."""

    logits: Tensor
    noisy: Tensor
    t: Tensor
    drawn: Tensor
    kept: Tensor


class Denoiser(nn.Module):
    """Noisy tokens (B, L) int64, step (B,) from 1, target (B,) -> logits (B, L, TOKENS) of the clean ones."""

    def __init__(self, width: int, layers: int, heads: int, targets: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.width = width
        self.token = nn.Embedding(TOKENS, width)
        self.place = nn.Embedding(MAX_LENGTH, width)
        self.target = nn.Embedding(targets, width)
        self.time = nn.Sequential(nn.Linear(width, WIDER * width), nn.SiLU(), nn.Linear(WIDER * width, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, TOKENS)
        for embedding in (self.token, self.place, self.target):
            nn.init.normal_(embedding.weight, std=SPREAD)

    def forward(self, noisy: Tensor, step: Tensor, target: Tensor) -> Tensor:
        known = self.time(sinusoid(step, self.width)) + self.target(target)
        x = self.token(noisy) + self.place.weight[: noisy.shape[1]] + known[:, None]
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.head(self.norm(x)))


class Noised(nn.Module):
    """Clean tokens and targets (B, L), (B,) int64 -> Guess, at a step and with noise drawn from torch's generator."""

    def __init__(self, network: Denoiser, steps: int) -> None:
        super().__init__()
        self.network = network
        self.diffusion = Diffusion(steps, TOKENS)

    def forward(self, clean: Tensor, target: Tensor) -> Guess:
        t = torch.randint(1, self.diffusion.steps + 1, (len(clean),), device=clean.device)
        return self.guess(self.diffusion.noised(clean, t), t, target)

    def guess(self, noisy: Tensor, t: Tensor, target: Tensor) -> Guess:
        logits = self.network(noisy, t, target)
        return Guess(logits, noisy, t, self.diffusion.drawn[t], self.diffusion.kept[t - 1])


def sinusoid(step: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width) float32: sines and cosines of periods from 2π to 2π × LONGEST_PERIOD (Vaswani et al. 2017)."""
    half = width // 2
    place = torch.arange(half, device=step.device, dtype=torch.float32) / half
    angle = step.float()[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * place)
    return torch.cat((angle.sin(), angle.cos()), dim=1)


@MODELS.register("denoiser")
def denoiser(config: Model) -> Noised:
    """Raises UsageError for numbers it cannot have."""
    if config.layers < 1 or config.heads < 1 or config.channels % (2 * config.heads) or config.diffusion_steps < 1:
        raise UsageError(
            f"model.channels = {config.channels}, layers = {config.layers}, heads = {config.heads}, diffusion_steps = "
            f"{config.diffusion_steps}: a denoiser needs one or more of each, and channels that are a multiple of "
            "twice the heads (as 128, 3, 4, 10)"
        )
    network = Denoiser(config.channels, config.layers, config.heads, max(1, config.targets), config.dropout)
    return Noised(network, config.diffusion_steps)
