"""The options of `steptop estimate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

EPILOG = """\
examples:
  steptop estimate                                 the training here, on every GPU there is a sheet of
  steptop estimate --gpu 4090 --epochs 30          on one GPU, with fewer epochs
  steptop estimate arc-meshnet26 --data DIR        before a launch, from what was measured of the same kind
  steptop estimate --gpus 2 --set num_workers=4    runs side by side on two GPUs of this machine
  steptop estimate --wish 6h-8h                    steps an epoch may have to take that long
  steptop estimate --decide 1                      record a decision with the experiment, and how to bring it about"""


def add(sub: argparse.ArgumentParser, counted: Callable[[str], int]) -> None:
    """`counted` reads a whole number, 1 or more."""
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.epilog = EPILOG
    sub.add_argument(
        "experiment", nargs="?", help="a training or test in the logs folder, or an experiment to be launched"
    )
    sub.add_argument("--data", type=Path, metavar="DIR", help="volumes of an experiment to be launched")
    sub.add_argument("--profile", metavar="P", help="with the knobs of another profile")
    sub.add_argument("--gpu", action="append", default=[], metavar="NAME", help="a GPU; repeatable (default: all)")
    sub.add_argument("--gpus", type=counted, default=1, metavar="N", help="runs side by side on N GPUs")
    sub.add_argument("--cores", type=counted, metavar="N", help="cores of the machine it would run on")
    sub.add_argument("--epochs", type=counted, metavar="N")
    sub.add_argument("--steps-per-epoch", type=counted, metavar="N")
    sub.add_argument("--folds", metavar="0,1,…", help="only these folds")
    sub.add_argument("--restarts", type=counted, metavar="N", help="of every fold")
    sub.add_argument(
        "--rest", action="store_true", help="what is left of one that has begun, not all of it from its first step"
    )
    sub.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="KNOB=VALUE", help="one knob; repeatable"
    )
    sub.add_argument(
        "--session", action="append", default=[], metavar="NAME|12h", help="a platform's session, or your own limit"
    )
    sub.add_argument(
        "--wish",
        action="append",
        default=[],
        metavar="6h-8h",
        help="how many steps an epoch may have; run=2d-3d: how many epochs; experiment=5d-7d: how many restarts",
    )
    sub.add_argument(
        "--speedup",
        action="append",
        default=[],
        metavar="GPU=LOW-HIGH@BATCH",
        help="a speed-up over the machine it was measured on that you know of, at that batch size",
    )
    sub.add_argument("--hardware", type=Path, metavar="FILE", help="GPUs, prices, sessions (default ./hardware.toml)")
    sub.add_argument("--decide", type=int, metavar="N", help="record option N and print the command that starts it")
    sub.add_argument("--stages", metavar="PLAN", help="a staged plan: a name, or a .toml file")
    sub.add_argument("--json", action="store_true", help="the documented contract (docs/estimate.md)")
