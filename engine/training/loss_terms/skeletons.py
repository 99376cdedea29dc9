"""Terms that compare centre lines and centre sheets: soft clDice, and the skeletons themselves.

The soft skeleton is what repeated erosion leaves of a shape where opening takes something away (Shit et al. 2021,
"clDice", algorithm 1). Of thin sheets it keeps a sheet, which a thinning to curves would not. That of the truth depends
on the label alone: it comes prepared (engine.training.data.maps) where there is one, and is computed here otherwise.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from engine.config.label_maps import ITERATIONS
from engine.config.tables import Loss, Term
from engine.training.loss_terms.foreground import mean, options, per_sample, seen
from engine.training.registry import LOSS_TERMS


def prepared(iterations: int) -> str:
    """The map that is this skeleton of the truth; none where it takes other iterations than those prepared."""
    return "skeleton" if iterations == ITERATIONS else ""


def soft_skeleton(shape: Tensor, iterations: int) -> Tensor:
    """(B, D, H, W) in 0…1 -> the same, high on its centre sheets. Of a binary shape it is binary."""
    x = shape[:, None]
    skeleton = functional.relu(x - _dilated(_eroded(x)))
    for _ in range(iterations):
        x = _eroded(x)
        more = functional.relu(x - _dilated(_eroded(x)))
        skeleton = skeleton + functional.relu(more - skeleton * more)
    return skeleton[:, 0]


def _eroded(x: Tensor) -> Tensor:
    """The least of a voxel and its six neighbours. Beyond the volume is foreground: a cut sheet has no edge there."""
    sides = [-functional.max_pool3d(-x, size, 1, _half(size)) for size in ((3, 1, 1), (1, 3, 1), (1, 1, 3))]
    return sides[0].minimum(sides[1]).minimum(sides[2])


def _dilated(x: Tensor) -> Tensor:
    return functional.max_pool3d(x, 3, 1, 1)


def _half(size: tuple[int, int, int]) -> tuple[int, int, int]:
    return size[0] // 2, size[1] // 2, size[2] // 2


class SoftClDice(nn.Module):
    """1 - the harmonic mean of how much of the predicted skeleton is in the truth and of the true one in the
    prediction, of each sample, averaged."""

    def __init__(self, iterations: int, smooth: float, ignore: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.prepared = prepared(iterations)
        self.smooth = smooth
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor, skeleton: Tensor | None = None) -> Tensor:
        """`skeleton`: of the truth, (B, D, H, W)."""
        one = seen(logits, target, self.ignore)
        p, g = one.probability, one.truth
        mine = soft_skeleton(p, self.iterations) * one.counted
        true = (soft_skeleton(g, self.iterations) if skeleton is None else skeleton.float()) * one.counted
        precision = (per_sample(mine * g) + self.smooth) / (per_sample(mine) + self.smooth)
        sensitivity = (per_sample(true * p) + self.smooth) / (per_sample(true) + self.smooth)
        return (1 - 2 * precision * sensitivity / (precision + sensitivity)).mean()


class SkeletonL1(nn.Module):
    """The mean difference of the two skeletons over the voxels that count."""

    def __init__(self, iterations: int, ignore: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.prepared = prepared(iterations)
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor, skeleton: Tensor | None = None) -> Tensor:
        one = seen(logits, target, self.ignore)
        true = soft_skeleton(one.truth, self.iterations) if skeleton is None else skeleton.float()
        return mean((soft_skeleton(one.probability, self.iterations) - true).abs(), one.counted)


@LOSS_TERMS.register("cl_dice")
def cl_dice(loss: Loss, term: Term) -> SoftClDice:
    found = options("cl_dice", term, {"iterations": ITERATIONS, "smooth": 1.0})
    return SoftClDice(int(found["iterations"]), found["smooth"], loss.ignore)


@LOSS_TERMS.register("skeleton")
def skeleton(loss: Loss, term: Term) -> SkeletonL1:
    found = options("skeleton", term, {"iterations": ITERATIONS})
    return SkeletonL1(int(found["iterations"]), loss.ignore)
