"""The caches of runs side by side, which fill the same memory: each as far as its own run has come."""

from __future__ import annotations

import msgspec

from engine.live.filling import FARTHEST_EPOCHS, Filling


class Fillings(msgspec.Struct, frozen=True):
    """One of each run that goes on, at least one."""

    each: tuple[Filling, ...]

    @property
    def volumes(self) -> int:
        return max(one.volumes for one in self.each)

    @property
    def to_come(self) -> float:
        """Bytes they will still grow by."""
        return sum(one.to_come for one in self.each)

    def held(self, ago: float) -> float:
        """Bytes kept so many seconds ago; in as many from now where it is less than 0."""
        return sum(one.held(one.passes - ago / one.pass_seconds) for one in self.each)

    def grown(self, seconds: float) -> float:
        """Bytes they have grown by in the last `seconds`."""
        return self.held(0.0) - self.held(seconds)

    def seconds_until(self, room: float, factor: float = 1.0, other: float = 0.0) -> float | None:
        """Until `room` bytes are used up by `factor` times this growth and `other` bytes per second beside it; None if
        they never are. Between two ends of passes growth is even."""
        if len(self.each) == 1:
            return self.each[0].seconds_until(room, factor, other)
        at, used, held = 0.0, 0.0, self.held(0.0)
        ends = [(int(one.passes) + 1 - one.passes) * one.pass_seconds for one in self.each]
        for _ in range(FARTHEST_EPOCHS * len(self.each)):
            first = min(range(len(ends)), key=ends.__getitem__)
            until = ends[first]
            ends[first] += self.each[first].pass_seconds
            more = factor * (self.held(-until) - held) + other * (until - at)
            if used + more >= room:
                return at + (room - used) / more * (until - at) if more > 0 else None
            used, at, held = used + more, until, self.held(-until)
        return (at + (room - used) / other) if other > 0 else None
