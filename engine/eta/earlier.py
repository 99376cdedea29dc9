"""What earlier experiments of a logs folder tell the present one."""

from __future__ import annotations

import msgspec

from engine.eta.calibration import Calibration
from engine.eta.timing import KeyTiming


class Earlier(msgspec.Struct, frozen=True):
    """`timings`: newest first. `calibration`: from residuals of runs that ended here, None while there are too few."""

    timings: tuple[KeyTiming, ...] = ()
    calibration: Calibration | None = None
