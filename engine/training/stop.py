"""A stop that was asked for: signal handlers set a flag, and whoever works looks at it where stopping is safe."""

from __future__ import annotations

import signal


class StopRequested(Exception):
    """Raised where work may be left; the run is saved and ends as `stopped`."""


# SIGUSR1 is what Slurm sends ahead of a job's end (`--signal=USR1@300`), to every process of a job step.
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stop:
    """`asked` once one of ASKING has come, however often. SIGHUP (a closed terminal) means nothing."""

    def __init__(self) -> None:
        self.asked = False

    def install(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in ASKING:
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True

    def check(self) -> None:
        """Raises StopRequested if asked."""
        if self.asked:
            raise StopRequested

    def disarm(self) -> None:
        """From here on a signal changes nothing. Python takes its own handlers off while it shuts down, and a SIGTERM
        then would turn a clean end into a death by signal; an ignored signal stays ignored."""
        for number in ASKING:
            signal.signal(number, signal.SIG_IGN)
