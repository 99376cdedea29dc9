"""A training that is thrown away: it measures one profile after another, as profile.json asks, until it is stopped.

It goes through the very steps of a real training, epoch after epoch, without validation and checkpoints. Only what the
loader is changes between two requests; a batch size, a precision or a compiled model needs a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat

from engine.config.profile import Profile
from engine.journals.events import ProfileChanged, ProfileMeasured
from engine.journals.records import ProfileRequest
from engine.training import device as devices
from engine.training.loop import Trainer
from engine.training.requests import changed, frozen, with_knobs

WAIT_SECONDS = 0.02


class Trial(Trainer):
    """`step` counts every step of every mode; `turn` is the epoch that the loader is in."""

    turn = 1
    request: ProfileRequest | None = None

    def run(self) -> None:
        """Raises StopRequested, which is the only end but for an error."""
        self.start()
        self.batches = self.feed.epoch(self.turn)
        while True:
            self.measure(self.wait())

    def wait(self) -> ProfileRequest:
        while (request := self.requests.look()) is None:
            self.stop.check()
            time.sleep(WAIT_SECONDS)
        return request

    @property
    def epoch(self) -> int:
        return self.turn

    def measure(self, request: ProfileRequest) -> None:
        """The steps that were asked for, each one written down."""
        names = changed(self.knobs, request.knobs)
        began = time.monotonic()
        error = ", ".join(frozen(names))
        if not error and (names or self.was_fed_otherwise(request)):
            self.reload(request)
        self.request = request
        self.journal.write(
            ProfileChanged(
                id=request.id, name=request.name, knobs=self.knobs.knobs, changed=names, step=self.step,
                epoch=self.epoch, seconds=time.monotonic() - began, mode=request.mode,
                error=f"{error} cannot change within a process" if error else "",
            ),
            sync=True,
        )
        if not error:
            devices.forget_peak(self.device)
            self.recorder.write_every_step(sys.maxsize)
            self.learner.model.train()
            self.recorder.resume()
            {"train": self.train, "resident": self.train_resident, "load": self.only_load}[request.mode](request.steps)
            self.recorder.drain()  # host-device sync: the last steps of the measurement are waited for
            if (memory := devices.memory(self.device)) is not None:
                self.journal.write(memory)
        self.journal.write(ProfileMeasured(id=request.id, steps=request.steps), sync=True)

    def reload(self, request: ProfileRequest) -> None:
        """Another loader at once, and its first batch waited for: what was loaded for another profile is no part of the
        measurement."""
        self.knobs = with_knobs(self.knobs, request)
        self.feed.close()
        self.open_feed(self.knobs)
        self.batches = self.feed.epoch(self.turn, self.seen)
        if request.mode != "resident":
            self.batches = chain([next(self.batches)], self.batches)

    def was_fed_otherwise(self, request: ProfileRequest) -> bool:
        """The loader of another mode may stand in the middle of an epoch."""
        return self.request is not None and self.request.mode != request.mode

    # ------------------------------------------------------------ what a step is

    def train(self, steps: int) -> None:
        """As in a real training."""
        self.do(steps, lambda: self.train_step(self.batches))

    def train_resident(self, steps: int) -> None:
        """The same batch again and again: what a step takes when nothing has to be loaded."""
        self.next_epoch()
        batch = next(self.batches)
        self.fresh = False
        try:
            self.do(steps, lambda: self.train_step(repeat(batch)), loads=False)
        finally:
            self.fresh = True
            self.seen = []

    def only_load(self, steps: int) -> None:
        """Batches are taken and thrown away: what a step takes when nothing has to be computed."""

        def load() -> None:
            for _ in range(self.passes()):
                self.seen += self.recorder.fetch(self.batches).indices
            self.step += 1
            self.recorder.step_ended(self.step, self.epoch, None)

        self.do(steps, load)

    def do(self, steps: int, step: Callable[[], None], loads: bool = True) -> None:
        for _ in range(steps):
            self.stop.check()
            if loads and len(self.seen) >= self.job.draws:
                self.turn += 1
                self.next_epoch()
            if not loads:
                self.seen = []
            step()

    def next_epoch(self) -> None:
        self.seen = []
        with self.recorder.waiting():
            self.batches = self.feed.epoch(self.turn)

    def open_feed(self, knobs: Profile, coming: Sequence[int] = ()) -> None:
        """The next loader begins with a whole epoch."""
        self.seen = []
        super().open_feed(knobs, coming)
