"""Another loader for a living training: the former one hands out what it has begun while the next one starts."""

from __future__ import annotations

import time
from collections.abc import Iterator

from engine.config.profile import Value
from engine.journals.records import ProfileRequest
from engine.machine import cgroup
from engine.machine.sampler import smaps
from engine.memory.budget import FORKED, SPAWNED
from engine.training.loader import Feed
from engine.training.samples import Batch

# What workers need more than those before them, while both are there.
MARGIN = 1.25


class Handover:
    """From the request to the next loader's first batch. `began`: the request's being taken up, by time.monotonic."""

    def __init__(self, request: ProfileRequest, names: tuple[str, ...], held: dict[str, Value], former: Feed) -> None:
        self.request = request
        self.names = names
        self.held = held
        self.former = former
        self.began = time.monotonic()
        self.seconds = 0.0  # for which the training stood still
        self.left = 0

    def let_out(self, epoch: int, workers: int, spawned: bool) -> list[int]:
        """The draws of `epoch` that the former loader still hands out: what its workers have begun, or nothing where
        memory has no room for both at once, or where it has none. Ends it then."""
        coming = self.former.let_out(epoch) if room_for(self.former.workers, workers, spawned) else []
        self.left = len(coming)
        if not coming:
            self.former.close()
        return [draw for draws in coming for draw in draws]

    def rest(self) -> Iterator[Batch]:
        """What it has begun."""
        while self.left:
            batch = self.former.another()
            self.left -= 1
            yield batch

    @property
    def over(self) -> bool:
        return self.left == 0

    def stood_still(self, since: float) -> None:
        self.seconds += time.monotonic() - since


def room_for(former: list[int], workers: int, spawned: bool) -> bool:
    """Whether so many processes fit into RAM beside the `former` ones (pids), each as large as the largest of those."""
    if not former:
        return False
    sizes = [size[2] for pid in former if (size := smaps(pid)) is not None]
    each = max([(SPAWNED if spawned else FORKED)[-1], *sizes])
    return MARGIN * each * workers < cgroup.available_bytes()
