"""Every figure of the README's table, one benchmark after the other. Nothing is asserted: machines differ."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    failed = []
    for name in names:
        importlib.import_module(f"tests.benchmarks.{name}")
        print(f"\n== {name}   (python -m tests.benchmarks.{name})", flush=True)
        # A process each: peak memory and imports of one must not count for the next.
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
