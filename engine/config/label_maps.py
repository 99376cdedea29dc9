"""Which maps of a label the terms of a loss are given: what depends on the label alone is prepared once."""

from __future__ import annotations

from engine.config.tables import Loss

# The soft skeleton's iterations (Shit et al. 2021): sheets up to seven voxels thick are thinned wholly.
ITERATIONS = 3
# Term of a loss -> the map it can be given (engine.training.data.maps).
NEEDED_BY = {"surface_distance": "distance", "cl_dice": "skeleton", "skeleton": "skeleton"}
# Of a sample; each is float16.
BYTES_PER_VOXEL = 2


def needed(loss: Loss) -> tuple[str, ...]:
    """Names of the maps, sorted. A skeleton of other iterations than those prepared the term computes itself."""
    asked = {
        name for term, name in NEEDED_BY.items()
        if term in loss.terms and loss.terms[term].options.get("iterations", ITERATIONS) == ITERATIONS
    }
    return tuple(sorted(asked))
