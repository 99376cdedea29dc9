"""Parts of a loss that an experiment weighs against each other (`[loss.terms.NAME]`); each registers itself by name.

A term takes logits (B, C, D, H, W) and class numbers int64 (B, D, H, W) and gives one number. All of these tell
foreground from background, whatever the number of classes. Voxels whose label is `loss.ignore` count nowhere.
"""

from __future__ import annotations

from engine.training.loss_terms import distance, regions, skeletons, topology

__all__ = ["distance", "regions", "skeletons", "topology"]
