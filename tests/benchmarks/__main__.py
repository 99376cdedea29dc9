"""Every figure of the README's table, one benchmark after the other. Nothing is asserted: machines differ.

A benchmark that this machine lacks something for (a GPU, MONAI) says so and ends with 2: it is named at the end, and is
no failure.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LACKING = 2


def main() -> int:
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    failed, lacking = [], []
    for name in names:
        importlib.import_module(f"tests.benchmarks.{name}")
        print(f"\n== {name}   (python -m tests.benchmarks.{name})", flush=True)
        # A process each: peak memory and imports of one must not count for the next.
        code = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode
        if code == LACKING:
            lacking.append(name)
        elif code:
            failed.append(name)
    if lacking:
        print(f"\nnot measured on this machine: {', '.join(lacking)} (each says above what it lacks)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
