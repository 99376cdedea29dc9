"""`python -P -m engine.training RUN_FOLDER`: train one run. Exit codes: 0 finished, 1 failed, 2 usage, 3 stopped."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from engine.training.stop import Stop

if __name__ == "__main__":
    began = time.monotonic()
    os.umask(0o077)
    stop = Stop()
    stop.install()  # before torch, whose import takes a second
    from engine.errors import UsageError
    from engine.training.run import run

    if len(sys.argv) != 2:
        print("usage: python -P -m engine.training RUN_FOLDER", file=sys.stderr)
        raise SystemExit(2)
    try:
        raise SystemExit(run(Path(sys.argv[1]).absolute(), stop, began))
    except UsageError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
