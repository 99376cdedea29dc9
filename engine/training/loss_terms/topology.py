"""A term that counts pieces, tunnels and cavities: persistent homology of the prediction against that of the truth.

Computed on the host by GUDHI (extra `topology`), so on one block of every sample and best at every k-th step only.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config.tables import Loss, Term
from engine.errors import UsageError
from engine.training.loss_terms.foreground import Seen, options, seen
from engine.training.registry import LOSS_TERMS

DIMENSIONS = 3
MISSING = (
    "[loss.terms.top_loss] needs GUDHI, which is not installed: pip install 'steptop[topology]', "
    "or leave it out"
)


class TopLoss(nn.Module):
    """Of a cubical complex filtered by falling probability, every feature is born at one voxel and dies at another. In
    each dimension the longest-lived β_k of them, as many as the truth has, ought to live from 1 to 0, all others not at
    all: the mean of (1 - lifetime)² over those, and that of lifetime² over the others (after Hu et al. 2019 and Clough
    et al. 2022). Two means: noise has thousands of features, among which the few wanted ones would count for nothing.

    Only the block of `size` voxels a side that holds the most true foreground is looked at, of each sample.
    """

    def __init__(self, size: int, ignore: int) -> None:
        super().__init__()
        self.size = size
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if type(logits).__name__ == "FakeTensor":
            return logits.sum() * 0.0  # engine.training.vram counts memory on shapes alone; this takes none of a device
        one = seen(logits, target, self.ignore)
        found = [self._of(p, g) for p, g in zip(*_blocks(one, self.size), strict=True)]
        return torch.stack(found).mean()

    def _of(self, probability: Tensor, truth: Tensor) -> Tensor:
        """Both (d, h, w). host-device sync: which voxels matter is found on the host."""
        births, deaths, wanted = features(probability.detach().cpu().numpy(), truth.cpu().numpy())
        if not len(births):
            return probability.sum() * 0.0
        flat = probability.flatten()
        kept = torch.from_numpy(wanted).to(flat)
        share = torch.from_numpy(shares(wanted)).to(flat)
        dying = torch.from_numpy(deaths).to(flat.device)
        # What never dies, dies at probability 0, where the whole block is filled.
        low = torch.where(dying >= 0, flat[dying.clamp(min=0)], torch.zeros_like(kept))
        lifetime = flat[torch.from_numpy(births).to(flat.device)] - low
        return (share * (kept - lifetime) ** 2).sum()


def shares(wanted: Any) -> Any:
    """What each feature counts: those that are wanted 1 together, and so do all others."""
    chosen = wanted > 0
    return np.where(chosen, 1.0 / max(1, chosen.sum()), 1.0 / max(1, (~chosen).sum())).astype(np.float32)


def features(probability: Any, truth: Any) -> tuple[Any, Any, Any]:
    """Of every feature the voxel (C order) where it is born, the one where it dies (-1: never), and 1.0 where the truth
    has it, 0.0 otherwise."""
    from gudhi.cubical_complex import CubicalComplex

    # GUDHI numbers voxels in Fortran order of the array it is given: transposed, they are in C order.
    made = CubicalComplex(top_dimensional_cells=(1.0 - probability.astype(np.float64)).T)
    made.compute_persistence()
    regular, essential = made.cofaces_of_persistence_pairs()
    betti = betti_numbers(truth)
    births, deaths, wanted = [], [], []
    for k in range(DIMENSIONS):
        pairs = regular[k] if k < len(regular) else np.zeros((0, 2), int)
        endless = essential[k] if k < len(essential) else np.zeros(0, int)
        born = np.concatenate([pairs[:, 0], endless]).astype(np.int64)
        died = np.concatenate([pairs[:, 1], np.full(len(endless), -1)]).astype(np.int64)
        flat = probability.reshape(-1)
        lifetime = flat[born] - np.where(died >= 0, flat[np.maximum(died, 0)], 0.0)
        rank = np.argsort(np.argsort(-lifetime, kind="stable"), kind="stable")
        births.append(born)
        deaths.append(died)
        wanted.append((rank < betti[k]).astype(np.float32))
    return np.concatenate(births), np.concatenate(deaths), np.concatenate(wanted)


def betti_numbers(truth: Any) -> tuple[int, ...]:
    """Pieces, tunnels and cavities of a binary block, voxels as closed cubes (26-connected)."""
    from gudhi.cubical_complex import CubicalComplex

    made = CubicalComplex(top_dimensional_cells=np.where(truth > 0, 0.0, 1.0))
    made.compute_persistence()
    counts = made.persistent_betti_numbers(from_value=0.0, to_value=0.5)
    return tuple(int(count) for count in [*counts, 0, 0, 0][:DIMENSIONS])


def _blocks(one: Seen, size: int) -> tuple[list[Tensor], list[Tensor]]:
    """Of each sample the block with the most foreground: probabilities and truth. Nothing is drawn at random, so that
    scoring held-out cases changes no training."""
    probabilities, truths = [], []
    for p, g in zip(one.probability, one.truth, strict=True):
        sides = [min(size, side) for side in g.shape]
        steps = [max(1, side // 2) for side in sides]
        counts = functional.avg_pool3d(g[None, None], sides, steps)[0, 0]
        best = int(counts.argmax())  # host-device sync
        corner = [int(i) * step for i, step in zip(np.unravel_index(best, counts.shape), steps, strict=True)]
        cut = tuple(slice(low, low + side) for low, side in zip(corner, sides, strict=True))
        probabilities.append(p[cut])
        truths.append(g[cut])
    return probabilities, truths


@LOSS_TERMS.register("top_loss")
def top_loss(loss: Loss, term: Term) -> TopLoss:
    """Raises UsageError where GUDHI is not installed."""
    found = options("top_loss", term, {"size": 32})
    if importlib.util.find_spec("gudhi") is None:
        raise UsageError(MISSING)
    return TopLoss(int(found["size"]), loss.ignore)
