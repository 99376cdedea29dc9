"""A term that weighs an error by how far from the true surface it lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.config.tables import Loss, Term
from engine.errors import UsageError
from engine.training.data.maps import FURTHEST, decoded, squared_distances
from engine.training.loss_terms.foreground import mean, options, seen
from engine.training.registry import LOSS_TERMS


class SurfaceDistance(nn.Module):
    """The mean of (p - g)² · w over the voxels that count: w grows from 0 at `tolerance` voxels from the surface to 1
    at `furthest`, and stays there.

    The one-sided distance term of Karimi and Salcudean (2020, eq. 8): it needs the truth's distances only, which are
    exact (Euclidean) and depend on the label alone. They come prepared where there are any.
    """

    prepared = "distance"

    def __init__(self, tolerance: float, furthest: float, ignore: int) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.furthest = furthest
        self.ignore = ignore

    def forward(self, logits: Tensor, target: Tensor, distance: Tensor | None = None) -> Tensor:
        """`distance`: of every voxel from the true surface, in voxels, (B, D, H, W)."""
        one = seen(logits, target, self.ignore)
        if distance is None:  # host-device sync: held-out cases, whose loss is only told
            exact = [decoded("distance", squared_distances(truth)) for truth in one.truth.bool().cpu().numpy()]
            distance = torch.stack([torch.from_numpy(each) for each in exact]).to(logits.device)
        weight = ((distance.float() - self.tolerance) / (self.furthest - self.tolerance)).clamp(0.0, 1.0)
        return mean((torch.sigmoid(one.logits) - one.truth) ** 2 * weight, one.counted)


@LOSS_TERMS.register("surface_distance")
def surface_distance(loss: Loss, term: Term) -> SurfaceDistance:
    """Raises UsageError for distances beyond what is prepared, or in the wrong order."""
    found = options("surface_distance", term, {"tolerance": 2.0, "furthest": 15.0})
    tolerance, furthest = found["tolerance"], found["furthest"]
    if not 0 <= tolerance < furthest <= FURTHEST:
        raise UsageError(
            f"[loss.terms.surface_distance.options] tolerance = {tolerance:g} and furthest = {furthest:g}: "
            f"0 ≤ tolerance < furthest ≤ {FURTHEST:g} voxels"
        )
    return SurfaceDistance(tolerance, furthest, loss.ignore)
