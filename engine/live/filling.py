"""A cache that grows until it holds every volume: how much it can come to, and when, from how epochs are dealt out.

Every epoch deals the volumes out to the workers anew, each of W workers a W-th of them at random. What a worker meets
and has not met before becomes less from epoch to epoch: (1 - 1/W)^e of the first one's after e epochs. The end is W
copies.
"""

from __future__ import annotations

import msgspec

# What is left to come is halved often enough by then, even with 64 workers.
FARTHEST_EPOCHS = 2000


class Filling(msgspec.Struct, frozen=True, kw_only=True):
    """`volumes` of `each` bytes, kept by `workers` processes that have dealt them out `passes` times, the present one a
    part; a pass takes `pass_seconds`."""

    volumes: int
    each: int
    workers: int
    passes: float
    pass_seconds: float

    @property
    def most(self) -> float:
        """When every worker has seen every volume."""
        return float(self.workers * self.volumes * self.each)

    def held(self, passes: float) -> float:
        """Bytes kept after so many passes, on average."""
        if passes <= 0:
            return 0.0
        whole = min(int(passes), FARTHEST_EPOCHS)
        unseen = (1 - 1 / self.workers) ** whole
        return self.volumes * self.each * (self.workers * (1 - unseen) + min(1.0, passes - whole) * unseen)

    def grown(self, seconds: float) -> float:
        """Bytes it has grown by in the last `seconds`."""
        return self.held(self.passes) - self.held(self.passes - seconds / self.pass_seconds)

    @property
    def to_come(self) -> float:
        """Bytes it will still grow by."""
        return max(0.0, self.most - self.held(self.passes))

    def seconds_until(self, room: float, factor: float = 1.0, other: float = 0.0) -> float | None:
        """Until `room` bytes are used up by `factor` times this growth and `other` bytes per second beside it; None if
        they never are."""
        held, at = self.held(self.passes), self.passes
        used, past = 0.0, 0.0
        while past < FARTHEST_EPOCHS:
            step = int(at) + 1 - at
            more = factor * (self.held(at + step) - held) + other * step * self.pass_seconds
            if used + more >= room:
                return (past + (room - used) / more * step) * self.pass_seconds if more > 0 else None
            used, past, at, held = used + more, past + step, at + step, self.held(at + step)
        return (past * self.pass_seconds + (room - used) / other) if other > 0 else None
