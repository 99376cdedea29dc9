"""The command line: one parser; each verb is a function in tui/verbs, and textual is imported only for a screen."""

from __future__ import annotations

import argparse
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from engine import __version__
from engine.config import knob_table
from engine.errors import UsageError, unknown
from engine.text import clean
from tui import estimate_options, limit_options

EPILOG = """\
exit codes: 0 done, 1 failed, 2 usage, 3 interrupted or stopped
Closing the terminal never touches a training; `steptop` again shows it."""


# Options that may stand before or behind the verb: argparse would let the second default overwrite the first value.
COMMON: dict[str, object] = {
    "logs": Path("logs"),
    "low_bandwidth": False,
    "ascii": False,
    "theme": None,
    "readonly": False,
    "interval": None,
}


class Parser(argparse.ArgumentParser):
    """argparse, but an error's text is cleaned of what a terminal would obey."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        if said := re.match(r"argument VERB: invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
            message = str(unknown("verb", said[1], re.findall(r"'(\w+)'", said[2])))
        print(f"steptop: {clean(message)}", file=sys.stderr)
        raise SystemExit(2)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # as argparse has it
        """What a verb ("steptop bench") does not know is said with its own usage, not with that of steptop."""
        found, rest = super().parse_known_args(args, namespace)
        if rest and " " in self.prog:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest


def parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument(
        "--logs", type=Path, default=argparse.SUPPRESS, metavar="DIR", help="where experiments live (default ./logs)"
    )
    screen, absent = Parser(add_help=False), argparse.SUPPRESS
    screen.add_argument("--low-bandwidth", action="store_true", default=absent, help="at most 2 kB/s to the terminal")
    screen.add_argument("--ascii", action="store_true", default=absent, help="no characters beyond ASCII")
    screen.add_argument("--theme", default=absent, help="dark, light, colour-blind, ansi, or one of Textual's")
    screen.add_argument("--readonly", action="store_true", default=absent, help="look only: no stops, no launches")
    screen.add_argument(
        "--interval",
        type=between(0.25, 10),
        default=absent,
        metavar="S",
        help="seconds between refreshes, 0.25 to 10 (default 1)",
    )

    top = Parser(
        prog="steptop",
        parents=[common, screen],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A top for training steps: launches trainings, shows where every second goes and when they end. "
        "Without a verb it opens the dashboard.",
    )
    top.add_argument("--version", action="version", version=f"steptop {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)

    def verb(name: str, text: str, one: bool = False, *parents: Parser) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text, parents=[common, *parents])
        if one:
            sub.add_argument("experiment", nargs="?", help="its name or folder; not needed for the only one")
        return sub

    verb("open", "open the dashboard on one experiment", True, screen)
    _launch_arguments(verb("run", "start an experiment, detached; prints its folder, or follows it", False, screen))
    check = verb("check", "preflight: read every volume and say what would be trained; writes nothing")
    _choice_arguments(check)
    check.add_argument("--quick", action="store_true", help="headers only")
    check.add_argument("--json", action="store_true")
    bench = verb("bench", "a short test: how fast a profile is, and what computing and loading alone would be")
    _test_arguments(bench, 50)
    tests = verb("phases", "test several profiles one after the other and say what each really brings")
    _test_arguments(tests, 0)
    tests.add_argument("--plan", metavar="P", help="a plan's name or .toml file (default: every profile there is)")
    tests.add_argument("--no-gate", action="store_true", help="go on after a phase that failed or was unstable")
    tuner = verb("tune", "look for the fastest profile within memory and locks; profile auto then uses it")
    _test_arguments(tuner, 0, steps_matter=False)
    tuner.add_argument(
        "--batch-sizes", metavar="1,2,…", help="batch sizes it may choose from (default: the present one alone)"
    )
    compare = verb("compare", "phases and trainings beside each other, the first one as the measure")
    compare.add_argument("experiments", nargs="*", metavar="NAME[:PHASE]", help="tests or trainings in the logs folder")
    compare.add_argument("--json", action="store_true", help="the documented contract (docs/phases.md)")
    estimate_options.add(verb("estimate", "how long it would take if it were different, or on other GPUs"), counted)
    status = verb("status", "what the dashboard says, as text or JSON", True)
    status.add_argument("--json", action="store_true", help="the documented contract (docs/status.md)")
    status.add_argument("--watch", action="store_true", help="again every two seconds until it ends")
    stop = verb("stop", "stop: after the present run (default), now with a checkpoint, or by force", True)
    how = stop.add_mutually_exclusive_group()
    how.add_argument("--after-run", action="store_const", dest="how", const="stop_after_run", default="stop_after_run")
    how.add_argument(
        "--now", action="store_const", dest="how", const="stop_now", help="finish the step, checkpoint, end"
    )
    how.add_argument(
        "--force",
        action="store_const",
        dest="how",
        const="stop_force",
        help="kill it; steps since the checkpoint are lost",
    )
    how.add_argument("--cancel", action="store_const", dest="how", const="stop_cancel", help="take a stop back")
    limit = verb("limit", "what shall end a living experiment in time: show it, change it, take it away", True)
    limit_options.limits(limit)
    limit.add_argument("--none", action="store_true", help="no limit of yours any more")
    queue = verb("queue", "the runs in their order: show them, put what waits elsewhere, leave out, add", True)
    for option, text in (
        ("--first", "begin this run next"),
        ("--last", "begin it after all others"),
        ("--skip", "do not train it"),
        ("--add", "train this one, too"),
    ):
        queue.add_argument(
            option, action="append", default=[], metavar="[VARIANT,]FOLD,RESTART", help=f"{text}; repeatable"
        )
    change = verb("change", "another profile for a training under way: loader knobs, between two steps", True)
    change.add_argument("--profile", metavar="P", help="a name from `steptop profiles`, or a .toml file")
    change.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="KNOB=VALUE", help="one knob; repeatable"
    )
    change.add_argument("--override-locks", action="store_true", help="also knobs the experiment locks; recorded")
    resume = verb("resume", "go on with a stopped, failed or lost experiment", True)
    resume.add_argument("--stop-after-run", type=counted, default=0, metavar="N", help="end after N more runs")
    limit_options.limits(resume)
    resume.add_argument("--no-limit", action="store_true", help="without the limits it had")
    limit_options.afterwards(resume)
    resume.add_argument("--wait", action="store_true", help="follow it to its end")
    results = verb("results", "test figures of every run, pooled, beside the target", True)
    results.add_argument("--json", action="store_true")
    report = verb("report", "what was measured, written down: Markdown, HTML or JSON", True)
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="write FILE.md or FILE.html, plots included")
    report.add_argument("--json", action="store_true", help="the documented contract (docs/report.md)")
    logs = verb("logs", "the trainer's output, made safe for a terminal", True)
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument(
        "-n", "--lines", type=counted, default=40, metavar="N", help="how many of the last lines (default 40)"
    )
    logs.add_argument("--run", metavar="[VARIANT,]FOLD,RESTART", help="another run than the present one")
    logs.add_argument("--supervisor", action="store_true", help="the supervisor's output instead")
    replay = verb("replay", "the dashboard over a recorded experiment", False, screen)
    replay.add_argument("folder", type=Path, help="an experiment's folder, or its name under --logs")
    replay.add_argument(
        "--speed", type=between(0.1, 1e6), default=60.0, metavar="X", help="times as fast as it was (default 60)"
    )
    replay.add_argument(
        "--forecast", action="store_true",
        help="no dashboard: what was foretold at every percent of each finished run, and what became of it",
    )
    replay.add_argument("--every", type=counted, default=1, metavar="N", help="with --forecast: every N percent")
    replay.add_argument("--run", metavar="[VARIANT,]FOLD,RESTART", help="with --forecast: this run only")
    replay.add_argument("--json", action="store_true", help="with --forecast: one JSON object")
    replay.add_argument("--at", type=between(0, 1), default=0.0, metavar="0..1", help="begin after this part of it")
    verb("experiments", "what can be trained, and what is in the logs folder").add_argument(
        "--json", action="store_true"
    )
    profiles = verb("profiles", "how it can be run, and every knob")
    profiles.add_argument("profile", nargs="?", help="a name, or a .toml file: every knob with its value there")
    profiles.add_argument("--json", action="store_true")
    return top


def counted(text: str) -> int:
    """A whole number, 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: it is a whole number, 1 or more")
    return int(text)


def between(low: float, high: float) -> Callable[[str], float]:
    """For a number from `low` to `high`; NaN is none."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}: it is a number from {low:g} to {high:g}")
        return value

    return number


def _choice_arguments(sub: argparse.ArgumentParser) -> None:
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.epilog = "\n".join(["knobs:", *knob_table.lines()])
    sub.add_argument(
        "experiment", help="a name from `steptop experiments`, a .toml file, or a manifest.json: that training again"
    )
    sub.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="as the experiment takes them: a BIDS-like tree, a folder of image/label pairs (NIfTI or TIFF), a FASTA "
        "or CSV file of sequences",
    )
    sub.add_argument("--profile", metavar="P", help="a name from `steptop profiles`, or a .toml file")
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KNOB=VALUE",
        help="one knob; repeatable. A whole number may follow the machine: cores, cores/2, cores-1, 2*gpus",
    )
    sub.add_argument("--folds", metavar="0,1,…", help="only these folds")
    sub.add_argument("--restarts", type=counted, metavar="N")
    sub.add_argument("--variants", metavar="A,B,…", help="only these variants of the experiment")
    sub.add_argument("--epochs", type=counted, metavar="N")
    sub.add_argument(
        "--devices", metavar="D", help="auto, cpu, or CUDA devices by number; 0,1: a run on each (default auto)"
    )
    sub.add_argument(
        "--override-locks", action="store_true", help="let --set change a knob the experiment locks; recorded"
    )
    sub.add_argument(
        "--over-budget", action="store_true", help="start although the memory it takes is more than there is; recorded"
    )


def _test_arguments(sub: argparse.ArgumentParser, steps: int, steps_matter: bool = True) -> None:
    _choice_arguments(sub)
    sub.add_argument("--name", help="the folder's name under --logs (default EXPERIMENT-bench, -phases or -tune)")
    many = f"default {steps}" if steps else "default: as many as the precision needs, 20 to 100"
    if steps_matter:
        sub.add_argument("--steps", type=int, default=steps or None, metavar="N", help=f"steps in each phase ({many})")
    sub.add_argument("--detach", action="store_true", help="do not wait for its end; print its folder")
    sub.add_argument("--json", action="store_true", help="the documented contract (docs/phases.md)")


def _launch_arguments(sub: argparse.ArgumentParser) -> None:
    _choice_arguments(sub)
    sub.add_argument("--name", help="the folder's name under --logs (default the experiment's)")
    sub.add_argument("--stop-after-run", type=counted, default=0, metavar="N", help="end after N runs")
    sub.add_argument("--slots", type=counted, metavar="N", help="runs side by side (default: one on each device)")
    orders = ("folds", "restarts")
    sub.add_argument("--order", choices=orders, help="all restarts of a fold first (default), or one of each")
    sub.add_argument("--retries", type=int, default=0, metavar="N", help="try a run that failed so often again, last")
    limit_options.limits(sub)
    limit_options.afterwards(sub)
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="follow it to its end with progress lines")
    how.add_argument("--open", action="store_true", help="open the dashboard on it (without a terminal: as --wait)")


def parsed(words: list[str]) -> argparse.Namespace:
    """The options of a command line; ends the process with exit code 2 for words it does not know."""
    options = parser().parse_args(words)
    for name, value in COMMON.items():
        setattr(options, name, getattr(options, name, value))
    options.words = words
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    if hasattr(signal, "SIGPIPE") and not sys.stdout.isatty():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.umask(0o077)
    words = list(sys.argv[1:] if argv is None else argv)
    options = parsed(words)
    if isinstance(sys.stdout, TextIOWrapper):
        # A locale may not know × and –: a ? there is better than no answer. JSON is UTF-8 everywhere.
        sys.stdout.reconfigure(encoding="utf-8" if getattr(options, "json", False) else None, errors="replace")
    try:
        if options.theme is not None:
            from tui.theme import check_known

            check_known(options.theme)
        if options.verb in (None, "open", "replay") and not getattr(options, "forecast", False):
            from tui import opening

            return opening.open_screen(options)
        from tui import verbs

        if options.readonly and options.verb in verbs.WRITING:
            raise UsageError(f"--readonly: `{options.verb}` starts, stops or changes something; leave one of them out")
        return verbs.VERBS[options.verb](options)
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"steptop: {clean(line)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; a training that was started goes on", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
